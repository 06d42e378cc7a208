"""The replica's life, from candidate to leader to stood down, and again.

::

    candidate ──lease──▶ follower ──key──▶ takes office ──fence, key read again──▶ leader
        ▲                   │                    │                                    │
        │                   │ lease lost         │ key gone, database away            │ lost, stale,
        │                   ▼                    ▼                                    ▼ crashed, asked
        └────backoff──── stood down ◀────────────┴────────────────────────────────────┘

Leadership is never a flag here. It is the `Term` and its trust that the pipeline gets as arguments,
and the pipeline is cancelled when the candidacy is lost (DESIGN §2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import structlog

from middleman.leadership.backoff import Backoff
from middleman.leadership.observer import Observer, Role
from middleman.leadership.tenure import Lead, serve
from middleman.leadership.timing import LifeTiming
from middleman.leadership.waiting import Interrupted, interrupted_by
from middleman.ports.clock import Clock
from middleman.ports.coordinator import Candidacy, Coordinator, Election
from middleman.ports.errors import (
    CandidacyLost,
    CoordinatorMisconfigured,
    CoordinatorUnavailable,
    OfficeUnavailable,
    ProcessorUnreachable,
    StaleTerm,
)
from middleman.ports.office import Office
from middleman.ports.term import Term

log = structlog.get_logger(__name__)


class NotElected(Exception):
    """The election was won but the office was not taken; the message says why."""


class Replica:
    """One replica standing for one scope, for as long as its process lives."""

    def __init__(
        self,
        *,
        name: str,
        candidate: str | None = None,
        scope: int,
        coordinator: Coordinator,
        office: Office,
        lead: Lead,
        clock: Clock,
        uniform: Callable[[], float],
        timing: LifeTiming,
        observer: Observer,
    ) -> None:
        """``uniform`` gives numbers in ``[0, 1)`` for jitter; ``name`` is unique among the replicas.

        ``candidate`` is what stands in the election key; the name, unless the key has to say more.
        """
        self._name = name
        self._candidate = candidate or name
        self._scope = scope
        self._coordinator = coordinator
        self._office = office
        self._lead = lead
        self._clock = clock
        self._timing = timing
        self._observer = observer
        self._backoff = Backoff(timing.backoff_initial_s, timing.backoff_max_s, uniform)
        self._resigning = asyncio.Event()
        self._has_given_up = False
        self._role: Role | None = None

    async def run(self, stopping: asyncio.Event) -> None:
        """Live until ``stopping`` is set and the replica has stood down.

        A replica that leads drains its pipeline first, resigns, and returns; any other returns at
        once. Faults of the coordinator, the database and the pipeline are answered with backoff and
        a new candidacy, for ever.

        Raises:
            PipelineStuck: a cancelled pipeline did not end; the process must exit.
        """
        try:
            while not stopping.is_set():
                began_s = self._clock.boottime_s()
                await self._stand(stopping)
                self._became(Role.STOOD_DOWN)
                if self._has_given_up:
                    self._backoff.lengthen()  # or it might be elected again before anybody else is
                elif self._clock.boottime_s() - began_s > self._timing.backoff_max_s:
                    self._backoff.reset()  # it went well for a while: this is a new trouble
                async with interrupted_by(stopping):
                    await self._clock.sleep(self._backoff.next_delay_s())
        except Interrupted:
            pass  # a stop during the pause is a stop
        finally:
            self._became(Role.STOOD_DOWN)

    def resign(self) -> bool:
        """Hand over: drain, give the lease up, and stand again. False when this replica does not lead."""
        if self._role is not Role.LEADER:
            return False
        self._resigning.set()
        return True

    async def _stand(self, stopping: asyncio.Event) -> None:
        """Stand once, and if elected lead; on return the lease is given up."""
        self._has_given_up = False
        self._became(Role.CANDIDATE)
        try:
            async with AsyncExitStack() as stack:
                async with interrupted_by(stopping):
                    candidacy = await stack.enter_async_context(
                        self._coordinator.candidacy(self._scope, self._candidate)
                    )
                    self._became(Role.FOLLOWER)
                    entered_s = self._clock.boottime_s()
                    election = await candidacy.elected()
                    won_s = self._clock.boottime_s()
                    self._observer.election_won(election, won_s - entered_s, won_s)
                    log.info("election.won", revision=election.revision, waited_s=round(won_s - entered_s, 4))
                    term = await self._take_office(candidacy, election)
                await self._serve(term, candidacy, stopping, won_s)
        except Interrupted:
            log.info("candidacy.withdrawn", reason="stopping")
        except CoordinatorMisconfigured as error:
            log.error("candidacy.refused", reason=str(error))
        except (CoordinatorUnavailable, CandidacyLost, NotElected) as error:
            log.warning("candidacy.ended", reason=str(error))

    async def _take_office(self, candidacy: Candidacy, election: Election) -> Term:
        """Raise the fence, then look once more whether the election still stands (DESIGN §2.2)."""
        bound_s = min(self._timing.office_timeout_s, candidacy.trust.remaining_s())
        try:
            async with asyncio.timeout(bound_s):
                term = await self._office.take_office(self._scope, self._name, election.revision)
        except TimeoutError:
            raise NotElected(f"office was not taken within {bound_s:.3f} s: the database is slow") from None
        except OfficeUnavailable as error:
            raise NotElected(f"office was not taken: {error}") from error
        except Exception as error:
            log.error("office.crashed", exc_info=error)
            raise NotElected(f"office was not taken: {type(error).__name__}: {error}") from error
        if not await candidacy.still_elected():
            raise NotElected(f"the election was lost while term {term.number} took office")
        return term

    async def _serve(self, term: Term, candidacy: Candidacy, stopping: asyncio.Event, won_s: float) -> None:
        started_s = self._clock.boottime_s()
        self._resigning.clear()
        self._became(Role.LEADER)
        self._observer.term_started(term, started_s - won_s, started_s)
        log.info("term.started", token=term.number, replica=self._name, office_s=round(started_s - won_s, 4))
        reason = "the replica was cancelled"
        try:
            reason = await serve(self._lead, term, candidacy, stopping, self._resigning, self._timing)
        except ProcessorUnreachable as error:
            self._has_given_up = True
            reason = f"given up: {error}"
        finally:
            # Told before the resignation, which takes a while when the coordinator is away.
            ended_s = self._clock.boottime_s()
            self._observer.term_ended(term, reason, ended_s - started_s, ended_s)
            log.info("term.ended", token=term.number, reason=reason, lasted_s=round(ended_s - started_s, 3))
            self._became(Role.STOOD_DOWN)
        # Side by side, so that the successor waits for no record. It comes first all the same where the database
        # is well: a successor needs an election before it can take office.
        await asyncio.gather(self._leave(term, reason), candidacy.resign())

    async def _leave(self, term: Term, reason: str) -> None:
        try:
            async with asyncio.timeout(self._timing.leave_timeout_s):
                await self._office.leave(term, reason)
        except (TimeoutError, OfficeUnavailable, StaleTerm) as error:
            # Only a record is missing: the fence and the lease do not depend on it.
            log.warning("term.leave_failed", token=term.number, error=str(error) or type(error).__name__)
        except Exception as error:
            log.error("term.leave_failed", token=term.number, exc_info=error)

    def _became(self, role: Role) -> None:
        if role is not self._role:
            self._role = role
            self._observer.role_changed(role, self._clock.boottime_s())
            log.info("replica.role_changed", replica=self._name, role=role.value)
