"""A small world for the replica's life: an office, pipelines that can be told what to do, a witness."""

import asyncio
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from middleman.leadership.observer import Role
from middleman.leadership.replica import Replica
from middleman.leadership.timing import LeaseTiming, LifeTiming
from middleman.ports.coordinator import Election
from middleman.ports.errors import StaleTerm
from middleman.ports.term import Term
from middleman.ports.trust import Trust
from tests.support.fake_coordinator import FakeCoordinator, FakeService
from tests.support.virtual_time import VirtualClock

LEASE = LeaseTiming()
LIFE = LifeTiming()


class FakeOffice:
    """The fence in memory. ``before_*`` run first and may wait or raise, as a database would."""

    def __init__(self) -> None:
        self.term_number = 0
        self.asked = 0
        self.left: list[tuple[int, str]] = []
        self.before_taking: Callable[[], Awaitable[None]] = _nothing
        self.before_leaving: Callable[[], Awaitable[None]] = _nothing

    async def take_office(self, scope: int, holder: str, election_revision: int) -> Term:
        """See the port."""
        self.asked += 1
        await self.before_taking()
        self.term_number += 1
        return Term(self.term_number, uuid.UUID(int=self.term_number), scope, holder, election_revision)

    async def leave(self, term: Term, reason: str) -> None:
        """See the port."""
        await self.before_leaving()
        self.left.append((term.number, reason))

    def require_current(self, term: Term) -> None:
        """What a fenced write does."""
        if term.number != self.term_number:
            raise StaleTerm(f"term {term.number} is below the fence at {self.term_number}")


async def _nothing() -> None:
    """The database is well."""


class FakePipeline:
    """Leads until told to drain; ``body`` replaces what it does."""

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.trust: Trust | None = None
        self.started = asyncio.Event()
        self.ended = asyncio.Event()
        self.cancelled = 0
        self.drained = 0
        self.body: Callable[[Term, Trust, asyncio.Event], Awaitable[None]] = self._until_draining

    async def __call__(self, term: Term, trust: Trust, draining: asyncio.Event) -> None:
        """See `Lead`."""
        self.terms.append(term)
        self.trust = trust
        self.ended.clear()
        self.started.set()
        try:
            await self.body(term, trust, draining)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.started.clear()
            self.ended.set()

    async def _until_draining(self, term: Term, trust: Trust, draining: asyncio.Event) -> None:
        await draining.wait()
        self.drained += 1


class Witness:
    """Records what the observer is told, with times."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, object]] = []
        self.reasons: list[str] = []
        self.durations_s: dict[str, float] = {}
        self.changed = asyncio.Event()
        self.role: Role | None = None

    def role_changed(self, role: Role, at_s: float) -> None:
        """See `Observer`."""
        self.role = role
        self._saw("role", role)

    def election_won(self, election: Election, waited_s: float, at_s: float) -> None:
        """See `Observer`."""
        self.durations_s["waited"] = waited_s
        self._saw("won", election.revision)

    def term_started(self, term: Term, office_s: float, at_s: float) -> None:
        """See `Observer`."""
        self.durations_s["office"] = office_s
        self._saw("started", term.number)

    def term_ended(self, term: Term, reason: str, lasted_s: float, at_s: float) -> None:
        """See `Observer`."""
        self.durations_s["lasted"] = lasted_s
        self.reasons.append(reason)
        self._saw("ended", term.number)

    def pulse_felt(self) -> None:
        """See `Observer`."""
        self._saw("felt", None)

    def pulse_broken(self, broke_s: float, at_s: float) -> None:
        """See `Observer`."""
        self._saw("broken", (broke_s, at_s))

    def leader_revoked(self, took_s: float, at_s: float) -> None:
        """See `Observer`."""
        self._saw("revoked", took_s)

    def pulse_missing(self, missing: bool) -> None:
        """See `Observer`."""
        self._saw("missing", missing)

    def foreign_members(self, count: int) -> None:
        """See `Observer`."""
        self._saw("foreign", count)

    async def until(self, role: Role) -> None:
        """Wait until the replica is in ``role``."""
        while self.role is not role:
            self.changed.clear()
            await self.changed.wait()

    def _saw(self, what: str, detail: object) -> None:
        self.seen.append((what, detail))
        self.changed.set()


class Actor:
    """One replica with everything around it."""

    def __init__(self, name: str, w: "World") -> None:
        self.name = name
        self.coordinator = FakeCoordinator(w.service, w.clock, w.lease)
        self.pipeline = FakePipeline()
        self.witness = Witness()
        self.stopping = asyncio.Event()
        self.replica = Replica(
            name=name,
            scope=0,
            coordinator=self.coordinator,
            office=w.office,
            lead=self.pipeline,
            clock=w.clock,
            uniform=random.Random(name).random,
            timing=w.life,
            observer=self.witness,
        )
        self.task = asyncio.create_task(self.replica.run(self.stopping), name=name)

    async def stop(self) -> None:
        """Ask for a graceful stop and wait for it."""
        self.stopping.set()
        await self.task


class World:
    """One coordination service, one office, any number of replicas."""

    def __init__(self, life: LifeTiming = LIFE, lease: LeaseTiming = LEASE) -> None:
        self.clock = VirtualClock()
        self.service = FakeService(self.clock)
        self.office = FakeOffice()
        self.life = life
        self.lease = lease
        self.actors: list[Actor] = []

    def replica(self, name: str) -> Actor:
        """Start a replica."""
        actor = Actor(name, self)
        self.actors.append(actor)
        return actor

    async def leading(self, name: str = "r1") -> Actor:
        """Start a replica and wait until it leads."""
        actor = self.replica(name)
        await actor.pipeline.started.wait()
        return actor


@asynccontextmanager
async def world(life: LifeTiming = LIFE, lease: LeaseTiming = LEASE) -> AsyncIterator[World]:
    """A world in which every replica is stopped at the end."""
    made = World(life, lease)
    try:
        yield made
    finally:
        for actor in made.actors:
            actor.stopping.set()
        await asyncio.gather(*(actor.task for actor in made.actors), return_exceptions=True)
