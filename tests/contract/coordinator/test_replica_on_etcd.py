"""Whole replicas on real etcd: the life and the adapter together."""

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from tests.support.coordinator_rigs import CLOCK, EtcdRig
from tests.support.replica_world import FakeOffice, FakePipeline, Witness

from middleman.leadership.observer import Role
from middleman.leadership.replica import Replica
from middleman.leadership.timing import LifeTiming

pytestmark = pytest.mark.timeout(60)


class RealReplica:
    """A replica whose only pretended parts are its database and its pipeline."""

    def __init__(self, name: str, rig: EtcdRig, office: FakeOffice) -> None:
        self.pipeline = FakePipeline()
        self.witness = Witness()
        self.stopping = asyncio.Event()
        replica = Replica(
            name=name,
            scope=0,
            coordinator=rig.direct(),
            office=office,
            lead=self.pipeline,
            clock=CLOCK,
            uniform=random.Random(name).random,
            timing=LifeTiming(backoff_max_s=0.5),
            observer=self.witness,
        )
        self.task = asyncio.create_task(replica.run(self.stopping), name=name)

    async def stop(self) -> None:
        """Stop gracefully."""
        self.stopping.set()
        await asyncio.wait_for(self.task, 10)


@pytest_asyncio.fixture
async def replicas(etcd_rig: EtcdRig) -> AsyncIterator[list[RealReplica]]:
    """Three replicas, of which one leads and two follow."""
    office = FakeOffice()
    running = [RealReplica(f"r{number}", etcd_rig, office) for number in (1, 2, 3)]
    async with asyncio.timeout(10):
        await _next_leader(running)
        for replica in running:
            if not replica.pipeline.started.is_set():
                await replica.witness.until(Role.FOLLOWER)
    yield running
    await asyncio.gather(*(replica.stop() for replica in running))


async def test_a_graceful_stop_hands_over_within_milliseconds(replicas: list[RealReplica]) -> None:
    leader = await _next_leader(replicas)
    others = [replica for replica in replicas if replica is not leader]
    began_s = CLOCK.boottime_s()
    await leader.stop()
    successor = await asyncio.wait_for(_next_leader(others), 5)
    assert CLOCK.boottime_s() - began_s < 0.5
    assert successor.pipeline.terms[-1].number == 2
    assert leader.witness.reasons == ["stopped"]


async def test_after_an_outage_of_etcd_one_replica_leads_a_later_term(
    etcd_rig: EtcdRig, replicas: list[RealReplica]
) -> None:
    leader = await _next_leader(replicas)
    await asyncio.gather(*(member.kill() for member in etcd_rig.cluster.members))
    await asyncio.wait_for(leader.pipeline.ended.wait(), etcd_rig.timing.lease_ttl_s)
    assert "not renewed in time" in leader.witness.reasons[0]
    assert not any(replica.pipeline.started.is_set() for replica in replicas)
    await etcd_rig.cluster.start()
    successor = await asyncio.wait_for(_next_leader(replicas), 15)
    assert successor.pipeline.terms[-1].number >= 2
    assert sum(replica.pipeline.started.is_set() for replica in replicas) == 1


async def _next_leader(replicas: list[RealReplica]) -> RealReplica:
    waits = {asyncio.create_task(replica.pipeline.started.wait()): replica for replica in replicas}
    done, waiting = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return waits[done.pop()]
