"""Fast failover: a follower that sees the leader's process die revokes its lease (DESIGN §2.11).

::

    hold a connection to the leader ──closed or reset──▶ connect again ──answers──▶ it lives: hold on
                                                             │ refused, or another process is there
                                                             ▼
                              leader key still carries that lease? ──no──▶ somebody was faster
                                                             │ yes
                                                             ▼
                                          revoke exactly that lease: the election goes on at once

Silence is no evidence: a frozen or unreachable leader is left to its lease. So is a leader to whom no
connection ever stood: a wrong address must not cost anybody the office. A wrong suspicion costs one
needless failover and nothing else, because of the fence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from middleman.leadership.backoff import Backoff
from middleman.leadership.observer import Observer
from middleman.ports.clock import Clock
from middleman.ports.coordinator import (
    Coordinator,
    CoordinatorMisconfigured,
    CoordinatorUnavailable,
    LeaderRecord,
)
from middleman.ports.pulse import Beat, NoPulse, Pulse

log = structlog.get_logger(__name__)

_AT = "@"
_CERTAIN_WITHIN_S = 0.5  # from the break on; whatever is not certain by then is left to the lease


@dataclass(frozen=True, slots=True)
class CandidateName:
    """What a candidate writes into the election key: who it is, and where its pulse is felt."""

    holder: str
    address: str

    def __str__(self) -> str:
        return f"{self.holder}{_AT}{self.address}" if self.address else self.holder

    @classmethod
    def parse(cls, text: str) -> CandidateName:
        """The inverse of ``str``; the address is empty where the candidate names none."""
        holder, _, address = text.partition(_AT)
        return cls(holder, address)


class MissingPulse:
    """For how long no connection to one leader could be made, and whether that was said."""

    __slots__ = ("_after_s", "_candidate", "_clock", "_observer", "_said", "_since_s")

    def __init__(self, clock: Clock, observer: Observer, after_s: float) -> None:
        self._clock = clock
        self._observer = observer
        self._after_s = after_s
        self._candidate = ""
        self._since_s = 0.0
        self._said = False

    def missed(self, record: LeaderRecord, reason: str, *, lasting: bool) -> None:
        """A connection to the leader of ``record`` could not be made. Loud once, when it lasts."""
        now_s = self._clock.boottime_s()
        if record.candidate != self._candidate:
            self.ended()
            self._candidate, self._since_s = record.candidate, now_s
        if self._said or not (lasting or now_s - self._since_s >= self._after_s):
            return
        self._said = True
        self._observer.pulse_missing(True)
        log.warning(
            "pulse.missing",
            leader=record.candidate,
            reason=reason,
            then="should this leader die, its lease has to run out first: check MIDDLEMAN_OPS_HOST and "
            "MIDDLEMAN_OPS_ADVERTISE of the leader, and the network between the replicas",
        )

    def ended(self) -> None:
        """A connection stands, or there is no leader to connect to."""
        if self._said:
            self._observer.pulse_missing(False)
        self._candidate, self._said = "", False


@dataclass(frozen=True, slots=True)
class PulseWatch:
    """One follower's watch over whoever leads its scope.

    ``poll_s`` is how often it looks who leads, and so how soon it feels a new leader's pulse. A leader that holds its
    key for ``missing_after_s`` and cannot be connected to is reported; longer than a lease, or a dead one would be.
    """

    me: CandidateName
    scope: int
    coordinator: Coordinator
    pulse: Pulse
    clock: Clock
    uniform: Callable[[], float]
    observer: Observer
    poll_s: float = 0.25
    missing_after_s: float = 10.0

    async def run(self) -> None:
        """Watch until cancelled. Faults of the coordinator are waited out."""
        missing = MissingPulse(self.clock, self.observer, self.missing_after_s)
        while True:
            record = await self._leader()
            if record is not None and record.candidate != str(self.me):
                await self._hold(record, missing)
            elif record is not None:
                missing.ended()  # we lead ourselves
            await self.clock.sleep(self.poll_s * (0.5 + self.uniform() / 2))

    async def _leader(self) -> LeaderRecord | None:
        try:
            return await self.coordinator.leader(self.scope)
        except (CoordinatorUnavailable, CoordinatorMisconfigured):
            return None  # the candidacy beside us tells that story

    async def _hold(self, record: LeaderRecord, missing: MissingPulse) -> None:
        """Hold the leader's pulse until it breaks or somebody else leads."""
        leader = CandidateName.parse(record.candidate)
        if not leader.address:
            missing.missed(record, "the leader names no address", lasting=True)
            return
        try:
            async with self.pulse.feel(leader.address, leader.holder) as beat:
                missing.ended()
                self.observer.pulse_felt()
                log.info("pulse.felt", leader=leader.holder, address=leader.address)
                ended = await self._until_broken(beat, record)
        except NoPulse as error:
            log.debug("pulse.not_felt", leader=leader.holder, reason=str(error))
            missing.missed(record, str(error), lasting=error.lasting)
            return
        if ended is not None:
            await self._suspect(record, leader, ended)

    async def _until_broken(self, beat: Beat, record: LeaderRecord) -> str | None:
        """How the connection ended, or None when somebody else leads by now."""
        broken = asyncio.ensure_future(beat.broken())
        try:
            while True:
                await asyncio.wait({broken}, timeout=self.poll_s)
                if broken.done():
                    return broken.result()
                now = await self._leader()
                if now is not None and now.lease_id != record.lease_id:
                    return None
        finally:
            broken.cancel()

    async def _suspect(self, record: LeaderRecord, leader: CandidateName, ended: str) -> None:
        """The connection broke: make sure, then let the election go on."""
        broke_s = self.clock.boottime_s()
        # Asked beside the reconnect, to save its time. It cannot be too old: revoked is exactly the lease that it shows.
        asked = asyncio.ensure_future(self.coordinator.leader(self.scope))
        try:
            if await self._gone(leader, ended, broke_s):
                self.observer.pulse_broken(broke_s, self.clock.boottime_s())
                await self._revoke(record, leader, asked, broke_s)
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def _gone(self, leader: CandidateName, ended: str, broke_s: float) -> bool:
        """Whether it is certain that the leader's process is gone, whose connection `ended`.

        While a process dies, its kernel may close what was connected before it closes what listens: who connects in
        between is reset and not refused. So whatever is no answer is asked again, for a moment.
        """
        pause = Backoff(0.005, 0.1, self.uniform)
        while True:
            try:
                async with self.pulse.feel(leader.address, leader.holder):
                    log.info("pulse.back", leader=leader.holder, ended=ended)
                    return False
            except NoPulse as error:
                definite, again = error.definite, str(error)
            if definite or self.clock.boottime_s() - broke_s >= _CERTAIN_WITHIN_S:
                log.info("pulse.broken", leader=leader.holder, ended=ended, again=again, definite=definite)
                return definite
            await self.clock.sleep(pause.next_delay_s())

    async def _revoke(
        self,
        record: LeaderRecord,
        leader: CandidateName,
        asked: asyncio.Future[LeaderRecord | None],
        broke_s: float,
    ) -> None:
        """Revoke the leader's lease, if the key still carries that one."""
        try:
            held = await asked
            if held is None or held.lease_id != record.lease_id:
                return
            revoked = await self.coordinator.revoke(record.lease_id)
        except (CoordinatorUnavailable, CoordinatorMisconfigured) as error:
            log.warning("leader.not_revoked", leader=leader.holder, reason=str(error))
            return
        revoked_s = self.clock.boottime_s()
        self.observer.leader_revoked(revoked_s - broke_s, revoked_s)
        log.info("leader.revoked", leader=leader.holder, first=revoked, took_s=round(revoked_s - broke_s, 4))
