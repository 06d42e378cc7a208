"""What a scenario gets: the target, eyes, dice, and a record that it writes by acting."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from chaos.drive.eyes import Eyes, Leader, SeenT, until
from chaos.drive.record import Fault, Observation, Record, now
from chaos.drive.target import Target

PATIENCE_S = 30.0
"""How long anything expected may take: a take-over needs the lease's seconds, everything else far less."""


class NotSeenError(Exception):
    """What the scenario expected was not seen: the fault did not bite, or the system did not answer it."""


class Skipped(Exception):
    """This machine or this system does not allow the scenario; the message says why."""


@dataclass(slots=True)
class Stage:
    """One scenario's hands. `dice` are of this scenario and the run's seed alone, so that a run can be repeated."""

    scenario: str
    target: Target
    eyes: Eyes
    record: Record
    dice: random.Random
    say: Callable[[str], None] = field(default=lambda _: None)

    @asynccontextmanager
    async def fault(self, kind: str, whom: str, **settings: object) -> AsyncIterator[Fault]:
        """Declare a fault for as long as the body lasts; the body injects it, and undoes it before it ends."""
        fault = self.record.begin(self.scenario, kind, whom, settings)
        self.say(f"{self.scenario}: {kind} {whom}")
        try:
            yield fault
        finally:
            fault.ended_at = now()

    def observe(self, expected: str, made: bool, seen: str, *faults: Fault) -> None:
        """Note an observation; raises `NotSeenError` when it was not made."""
        numbers = tuple(fault.number for fault in faults)
        self.record.observations.append(Observation(self.scenario, expected, made, seen, now(), numbers))
        self.say(f"{self.scenario}: {'seen' if made else 'NOT SEEN'}: {expected} ({seen})")
        if not made:
            raise NotSeenError(f"{expected}: {seen}")

    async def expect(
        self,
        expected: str,
        look: Callable[[], Awaitable[SeenT | None]],
        *faults: Fault,
        tell: Callable[[SeenT], str] = str,
        patience_s: float = PATIENCE_S,
    ) -> SeenT:
        """Wait until `look` sees something and note it; raises `NotSeenError` when it does not in time."""
        try:
            seen = await until(look, patience_s)
        except TimeoutError:
            self.observe(expected, False, f"not within {patience_s:g} s", *faults)
            raise AssertionError("observe raises") from None
        self.observe(expected, True, tell(seen), *faults)
        return seen

    async def leader(self, *, after_term: int = 0, patience_s: float = PATIENCE_S) -> Leader:
        """Wait for a leader with a term above `after_term`; raises `NotSeenError`."""
        try:
            return await until(lambda: self.eyes.leader(after_term=after_term), patience_s)
        except TimeoutError:
            raise NotSeenError(f"nobody leads a term above {after_term} after {patience_s:g} s") from None

    async def expect_successor(
        self, leader: Leader, *faults: Fault, patience_s: float = PATIENCE_S
    ) -> Leader:
        """Note that another term than `leader`'s settles charges; returns who leads it."""
        after_event = await until(self._newest_event, patience_s)

        async def charging() -> Leader | None:
            successor = await self.eyes.leader(after_term=leader.term)
            if successor is None:
                return None
            settled = await self.eyes.settled(after_event=after_event, term=successor.term)
            return successor if settled else None

        return await self.expect(
            f"a successor of {leader.name} (term {leader.term}) charges",
            charging,
            *faults,
            tell=lambda found: f"{found.name} leads term {found.term}",
            patience_s=patience_s,
        )

    async def expect_charging(self, *faults: Fault, patience_s: float = PATIENCE_S) -> int:
        """Note that charges are settled from here on; returns how many when first looked at."""
        after_event = await until(self._newest_event, patience_s)

        async def charging() -> int | None:
            return await self.eyes.settled(after_event=after_event) or None

        return await self.expect(
            "charges are settled", charging, *faults, tell=lambda n: f"{n} settled", patience_s=patience_s
        )

    async def _newest_event(self) -> int | None:
        return await self.eyes.newest_event()
