"""The rigs on which the contract of `Coordinator` is tried: the fake in memory, and real etcd."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import grpc
from etcd3 import etcdrpc

from cluster.etcd import EtcdCluster
from middleman.adapters.etcd import EtcdConfig, EtcdCoordinator
from middleman.adapters.system_clock import SystemClock
from middleman.leadership.timing import LeaseTiming
from middleman.ports.coordinator import Candidacy, Coordinator
from tests.support.fake_coordinator import FakeCoordinator, FakeService, LinkMode
from tests.support.links import Relay

CLOCK = SystemClock()
BRISK = LeaseTiming(lease_ttl_s=2, margin_s=0.2, rpc_timeout_s=0.4, call_budget_s=1.0)
"""Short enough to wait for an expiry; etcd's floor at the members' timing is 1 s."""


@asynccontextmanager
async def leader_and_follower(
    client: Coordinator, other: Coordinator
) -> AsyncIterator[tuple[Candidacy, Candidacy]]:
    """`a` leads scope 0, and only then `b` stands: who stands side by side may be elected in either order."""
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        async with other.candidacy(0, "b") as follower:
            yield leader, follower


class Rig(Protocol):
    """One coordination service and any number of clients, each with a link of its own."""

    timing: LeaseTiming

    async def client(self) -> tuple[Coordinator, Callable[[LinkMode], None]]:
        """A new client and the control of its link."""
        ...

    async def delete_key(self, scope: int) -> None:
        """Delete the election key by hand."""
        ...

    async def close(self) -> None:
        """Close all clients."""
        ...


class FakeRig:
    """In memory, in real time, with a TTL of one second."""

    def __init__(self) -> None:
        self.timing = LeaseTiming(
            lease_ttl_s=1, margin_s=0.1, rpc_timeout_s=0.2, call_budget_s=0.5, verify_interval_s=0.2
        )
        self._service = FakeService(CLOCK)

    async def client(self) -> tuple[Coordinator, Callable[[LinkMode], None]]:
        coordinator = FakeCoordinator(self._service, CLOCK, self.timing)
        return coordinator, coordinator.link.set_mode

    async def delete_key(self, scope: int) -> None:
        self._service.delete_key(scope)
        await self._service.tell()

    async def close(self) -> None:
        pass  # nothing is open


class EtcdRig:
    """Real etcd; every client reaches every member through a relay of its own."""

    def __init__(self, cluster: EtcdCluster, prefix: str, timing: LeaseTiming) -> None:
        self.timing = timing
        self.cluster = cluster
        self._prefix = prefix
        self._coordinators: list[Coordinator] = []
        self._relays: list[Relay] = []

    async def client(self) -> tuple[Coordinator, Callable[[LinkMode], None]]:
        relays = [Relay(endpoint) for endpoint in self.cluster.endpoints]
        self._relays += relays
        coordinator = self._coordinator(tuple([await relay.start() for relay in relays]))

        def set_mode(mode: LinkMode) -> None:
            for relay in relays:
                relay.set_mode(mode)

        return coordinator, set_mode

    def direct(self) -> Coordinator:
        """A client without a relay, for faults of the members themselves."""
        return self._coordinator(self.cluster.endpoints)

    async def delete_key(self, scope: int) -> None:
        async with grpc.aio.insecure_channel(self.cluster.endpoints[0]) as channel:
            key = f"{self._prefix}/election/{scope}".encode()
            answer = await etcdrpc.KVStub(channel).DeleteRange(etcdrpc.DeleteRangeRequest(key=key), timeout=2)
            assert answer.deleted == 1

    async def close(self) -> None:
        for coordinator in self._coordinators:
            await coordinator.close()
        for relay in self._relays:
            await relay.close()

    def _coordinator(self, endpoints: tuple[str, ...]) -> Coordinator:
        config = EtcdConfig(endpoints=endpoints, prefix=self._prefix)
        coordinator = EtcdCoordinator(config, self.timing, clock=CLOCK, uniform=random.Random(7).random)
        self._coordinators.append(coordinator)
        return coordinator
