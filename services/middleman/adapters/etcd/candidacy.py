"""One candidacy: one lease and one election, from entering to winning to losing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import structlog

from middleman.adapters.etcd.election import ElectionKey
from middleman.adapters.etcd.lease import Lease, revoke
from middleman.adapters.etcd.members import Members
from middleman.adapters.etcd.watch import KeyWatch
from middleman.leadership.backoff import Backoff
from middleman.ports.clock import Clock
from middleman.ports.coordinator import CandidacyLost, Election
from middleman.ports.errors import CoordinatorMisconfigured, CoordinatorUnavailable
from middleman.ports.trust import Trust

log = structlog.get_logger(__name__)


class EtcdCandidacy:
    """Implements `middleman.ports.coordinator.Candidacy`."""

    def __init__(self, members: Members, clock: Clock, scope: int, candidate: str, lease: Lease) -> None:
        self._members = members
        self._clock = clock
        self._candidate = candidate
        self._lease = lease
        self._key = ElectionKey(members, scope)
        self._watch = KeyWatch(members, clock, self._key.name)
        loop = asyncio.get_running_loop()
        self._won: asyncio.Future[Election] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._life = asyncio.create_task(self._live(), name=f"candidacy-{scope}-{candidate}")
        self._resigning: asyncio.Task[None] | None = None

    @property
    def trust(self) -> Trust:
        """How long this candidate may act on its lease; a live view."""
        return self._lease.trust

    async def elected(self) -> Election:
        """Wait until the key is ours; raise `CandidacyLost` if the candidacy ends before."""
        either: set[asyncio.Future[Any]] = {self._won, self._lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._lost.done():
            raise CandidacyLost(self._lost.result())
        return self._won.result()

    async def lost(self) -> str:
        """Wait until lease, trust or key is lost, and return the reason."""
        return await asyncio.shield(self._lost)

    async def still_elected(self) -> bool:
        """One linearizable read: is the key still the one that we won?"""
        if not self._won.done() or self.trust.lost_because is not None:
            return False
        try:
            held: bool | None = (await self._key.read()).is_under(self._lease.id)
        except (CoordinatorUnavailable, CoordinatorMisconfigured) as error:
            log.warning("election.unverified", error=str(error))
            return False
        if not held:
            held = (await self._key.vote(self._lease.id)).held
        return held is True and self.trust.lost_because is None

    async def resign(self) -> None:
        """Give up the lease at once. Idempotent; bounded by the call budget."""
        self._end("resigned")
        if self._resigning is None:
            self._resigning = asyncio.create_task(self._revoke(), name="resign")
        # Shielded: the revocation that a successor waits for goes on when our caller is cancelled.
        await asyncio.shield(self._resigning)

    async def _revoke(self) -> None:
        self._life.cancel()
        try:
            await revoke(self._members, self._lease.id)  # first: a successor waits for it
        except (CoordinatorUnavailable, CoordinatorMisconfigured) as error:
            log.warning("lease.revoke_failed", error=str(error))  # it expires by itself
        await asyncio.wait({self._life}, timeout=self._members.timing.rpc_timeout_s)

    def _end(self, reason: str) -> None:
        self._lease.trust.end(reason)
        if not self._lost.done():
            self._lost.set_result(self._lease.trust.lost_because or reason)

    async def _live(self) -> None:
        """Everything that goes on beside the caller; whatever ends first ends the candidacy."""
        parts = {
            asyncio.create_task(self._lease.keep_alive(self._may_carry_key), name="keep-alive"),
            asyncio.create_task(self._expire(), name="expire"),
            asyncio.create_task(self._watch.run(), name="watch"),
            asyncio.create_task(self._stand(), name="stand"),
        }
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            self._end(self._reason(done.pop()))
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    def _reason(self, part: asyncio.Task[None]) -> str:
        error = None if part.cancelled() else part.exception()
        if isinstance(error, CandidacyLost | CoordinatorMisconfigured):
            return str(error)
        log.error("candidacy.crashed", part=part.get_name(), exc_info=error)
        return f"the candidacy's {part.get_name()} failed: {type(error).__name__}: {error}"

    async def _expire(self) -> None:
        """End the candidacy when trust runs out, whatever the other parts are waiting for."""
        # The cap makes a resume from suspend, which the loop's own clock does not count, noticed soon.
        cap_s = self._members.timing.keepalive_interval_s
        while (reason := self.trust.lost_because) is None:
            await self._clock.sleep(min(max(self.trust.remaining_s(), 0.001), cap_s))
        raise CandidacyLost(reason)

    async def _stand(self) -> None:
        election = await self._campaign()
        self._won.set_result(election)
        await self._hold()

    async def _campaign(self) -> Election:
        pause = Backoff(0.05, 0.5, self._members.uniform)
        vacant_s: float | None = None
        while True:
            await self._lease.fresh()
            try:
                claim = await self._key.claim(self._candidate, self._lease.id)
            except CoordinatorUnavailable as error:
                # Only trust ends a candidacy in an outage: after a short one we are still in the race.
                log.warning("election.unreachable", error=str(error))
                await self._clock.sleep(pause.next_delay_s())
                continue
            pause.reset()
            self._watch.reflects(claim.revision)
            if claim.election is not None:
                return replace(claim.election, vacant_s=vacant_s)
            await self._watch.changed()
            vacant_s = self._clock.boottime_s()

    async def _hold(self) -> None:
        """Return never; raise `CandidacyLost` when the key is no longer ours, as a majority of the members says."""
        pause = Backoff(0.05, 0.5, self._members.uniform)
        while True:
            await self._watch.changed()
            try:
                reading = await self._key.read()
            except CoordinatorUnavailable as error:
                log.warning("election.unverified", error=str(error))
                await self._clock.sleep(pause.next_delay_s())
                continue
            if not reading.is_under(self._lease.id):
                vote = await self._key.vote(self._lease.id)
                if vote.held is False:
                    raise CandidacyLost(
                        f"the election key was taken by {vote.taken_by.candidate}"
                        if vote.taken_by is not None
                        else "the election key was deleted"
                    )
                log.warning("election.denied_by_few", held=vote.held)
                await self._clock.sleep(pause.next_delay_s())
                continue
            pause.reset()
            self._watch.reflects(reading.revision)

    async def _may_carry_key(self) -> bool:
        """Whether our lease carries the election key, or no majority can tell."""
        return self._won.done() and (await self._key.vote(self._lease.id)).held is not False
