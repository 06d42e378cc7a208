"""What only a run knows: when it hurt the system, and how the test clock ran meanwhile.

With it the judge can say whether every period was charged in time (I8). The deadline of a period is its due
instant, or the end of the last fault that held it up, plus lease TTL and retry budget: the time to notice
that a leader is gone, and the time to do the work again.

    due ──────────────┬─ lease TTL + budget ─┤ deadline
                      │
    due ── fault ─────┴── fault ends ─ lease TTL + budget ─┤ deadline

Business time is a function of real time in pieces: from each `real_from` on it runs at `rate`, beginning at
`business_from`. It jumps when the clock was advanced, and stands still while the rate is 0.
"""

from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg

Window = tuple[datetime, datetime]

_TEST_CLOCK = "SELECT base_real, base_virtual, rate FROM test_clock"


@dataclass(frozen=True, slots=True)
class ClockPiece:
    """From `real_from` on, business time is `business_from` plus `rate` times the real time since."""

    real_from: datetime
    business_from: datetime
    rate: float


@dataclass(frozen=True)  # no slots: what is derived is cached in the instance
class Promptness:
    """A run's own knowledge, all in the database's real time. Raises `ValueError`.

    `faults` are (from, until), in any order; they may overlap. `clock` is in the order of `real_from`; the last piece
    goes on for ever. A period that was due before the first piece counts as due when that piece began. `rests` are
    instants at which nothing was left to charge: no fault before one excuses what is late after it, and no two faults
    count as one trouble across it.
    """

    budget_s: float
    lease_ttl_s: float
    faults: tuple[Window, ...]
    clock: tuple[ClockPiece, ...]
    rests: tuple[datetime, ...] = ()

    def __post_init__(self) -> None:
        if not self.budget_s > 0 or not self.lease_ttl_s > 0:
            raise ValueError(f"budget_s={self.budget_s}, lease_ttl_s={self.lease_ttl_s}: must be above 0")
        if not self.clock:
            raise ValueError(
                "clock=(): without a piece of the test clock nobody knows when a period fell due"
            )
        if any(piece.rate < 0 for piece in self.clock):
            raise ValueError("clock: business time never runs backwards, so no rate is below 0")
        if any(after.real_from < before.real_from for before, after in zip(self.clock, self.clock[1:])):  # noqa: B905  # one shorter on purpose
            raise ValueError("clock: give the pieces in the order of real_from")
        if any(until < since for since, until in self.faults):
            raise ValueError("faults: each is (from, until), and ends after it began")

    @property
    def allowance(self) -> timedelta:
        """How long a period may take when nothing stands in its way."""
        return timedelta(seconds=self.lease_ttl_s + self.budget_s)

    def business_time(self, real: datetime) -> datetime:
        """Business time at a real instant, by the pieces."""
        index = max(0, bisect_right(self._starts, real) - 1)
        return _business(self.clock[index], real)

    def fell_due(self, business: datetime) -> datetime | None:
        """The first real instant at which business time had reached `business`; None: not within these pieces."""
        for number, piece in enumerate(self.clock):
            if business <= piece.business_from:
                return piece.real_from
            if piece.rate == 0:
                continue
            reached = _reached(piece, business)
            following = self.clock[number + 1 : number + 2]
            if reached is not None and (not following or reached < following[0].real_from):
                return reached
        return None

    def deadline(self, due: datetime) -> datetime:
        """When a period that was due at this real instant must have its first definite outcome."""
        index = bisect_right(self._ends, due)  # the first window that ends after it fell due
        if index < len(self._windows) and self._windows[index][0] <= due + self.allowance:
            return self._windows[index][1] + self.allowance
        return due + self.allowance

    @cached_property
    def _starts(self) -> list[datetime]:
        return [piece.real_from for piece in self.clock]

    @cached_property
    def _windows(self) -> list[Window]:
        """Faults joined where one began before what the other held up was overdue."""
        joined: list[Window] = []
        for since, until in sorted(self.faults):
            if joined and since <= joined[-1][1] + self.allowance and not self._rested(joined[-1][1], since):
                joined[-1] = (joined[-1][0], max(joined[-1][1], until))
            else:
                joined.append((since, until))
        return joined

    def _rested(self, since: datetime, until: datetime) -> bool:
        return any(since <= rest <= until for rest in self.rests)

    @cached_property
    def _ends(self) -> list[datetime]:
        return [until for _, until in self._windows]


async def clock_piece(connection: "asyncpg.Connection[Any]") -> ClockPiece:
    """The piece that the test clock runs on now, from the database itself: to be asked after each time it is set."""
    return ClockPiece(*await connection.fetchrow(_TEST_CLOCK))


def _business(piece: ClockPiece, real: datetime) -> datetime:
    return piece.business_from + (real - piece.real_from) * piece.rate


def _reached(piece: ClockPiece, business: datetime) -> datetime | None:
    """When a piece that goes on for ever shows `business`; None: not before the year 10000."""
    try:
        return piece.real_from + (business - piece.business_from) / piece.rate
    except OverflowError:
        return None
