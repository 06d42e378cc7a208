"""The `Coordinator` port on etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from middleman.adapters.etcd.candidacy import EtcdCandidacy
from middleman.adapters.etcd.config import EtcdConfig
from middleman.adapters.etcd.election import ElectionKey
from middleman.adapters.etcd.lease import grant, revoke
from middleman.adapters.etcd.members import Members
from middleman.leadership.timing import LeaseTiming, granted_ttl_error, lease_errors
from middleman.ports.clock import Clock
from middleman.ports.coordinator import Candidacy, LeaderRecord
from middleman.ports.errors import CoordinatorMisconfigured, CoordinatorUnavailable


class EtcdCoordinator:
    """Implements `middleman.ports.coordinator.Coordinator`.

    Used from one event loop. ``uniform`` gives numbers in ``[0, 1)`` for jitter.
    """

    def __init__(
        self,
        config: EtcdConfig,
        timing: LeaseTiming,
        *,
        clock: Clock,
        uniform: Callable[[], float],
        show_foreign: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Open nothing yet. ``show_foreign`` gets the number of endpoints of other clusters whenever it changes.

        Raises:
            ValueError: the timing contradicts itself; the message names every rule that is broken.
        """
        if errors := lease_errors(timing):
            raise ValueError("; ".join(errors))
        self._timing = timing
        self._clock = clock
        self._members = Members(config, timing, clock, uniform, show_foreign)
        self._shortest_lease_is_known = False

    @asynccontextmanager
    async def candidacy(self, scope: int, candidate: str) -> AsyncIterator[Candidacy]:
        """Stand for leadership of ``scope``; see the port."""
        lease = await grant(self._members, self._clock)
        if lease.trust.lost_because is not None:
            raise CoordinatorUnavailable("etcd granted a lease too late to be used: it is overloaded")
        candidacy = EtcdCandidacy(self._members, self._clock, scope, candidate, lease)
        try:
            yield candidacy
        finally:
            await candidacy.resign()

    async def leader(self, scope: int) -> LeaderRecord | None:
        """Who holds the scope's key now."""
        return (await ElectionKey(self._members, scope).read()).record

    async def revoke(self, lease_id: int) -> bool:
        """Revoke exactly this lease; ``False`` when it was already gone."""
        return await revoke(self._members, lease_id)

    async def check(self) -> None:
        """A quorum answers; and, asked once, the shortest lease that it grants is not above ours."""
        await ElectionKey(self._members, scope=0).read()
        if self._shortest_lease_is_known:
            return
        probe = await grant(self._members, self._clock)
        await revoke(self._members, probe.id)
        if probe.granted_ttl_s > self._timing.lease_ttl_s:
            raise CoordinatorMisconfigured(granted_ttl_error(self._timing, granted_ttl_s=probe.granted_ttl_s))
        self._shortest_lease_is_known = True

    async def close(self) -> None:
        """Close every channel. Idempotent."""
        await self._members.close()
