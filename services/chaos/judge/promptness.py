"""What only a run knows: when it hurt the system, and how the test clock ran meanwhile.

With it the judge can say whether every period was charged in time (I8). A period may take the lease TTL, to notice
that a leader is gone, and the retry budget, to do the work again. Of that budget no time is counted in which a fault
lasted, nor the lease TTL after its end:

    due ─ TTL ─────────── budget ─────────┤ deadline

    due ── fault ──────── TTL ─────────── budget ─────────┤ deadline

    due ─ TTL ─ 1st part of the budget ── fault ── TTL ── the rest of it ─┤ deadline

The time between two faults counts, however many there are: in a mix that never pauses for long each period gets its
deadline after so many undisturbed seconds in all, and not only after the last fault of the mix.

Business time is a function of real time in pieces: from each `real_from` on it runs at `rate`, beginning at
`business_from`. It jumps when the clock was advanced, and stands still while the rate is 0.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import accumulate
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
    goes on for ever. A period that was due before the first piece counts as due when that piece began.
    """

    budget_s: float
    lease_ttl_s: float
    faults: tuple[Window, ...]
    clock: tuple[ClockPiece, ...]

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
        over = self._undisturbed(due + self._lease_ttl) + timedelta(seconds=self.budget_s)
        begun = bisect_left(self._undisturbed_at_start, over)
        return over + (self._lost[begun - 1] if begun else timedelta(0))

    def disturbed(self, since: datetime, until: datetime) -> bool:
        """Whether a fault, or the lease TTL after one, took any of this time."""
        return self._undisturbed(until) - self._undisturbed(since) < until - since

    def _undisturbed(self, real: datetime) -> datetime:
        """A clock that stands still while the system is disturbed."""
        index = bisect_right(self._windows, real, key=_since) - 1
        if index < 0:
            return real
        since, until = self._windows[index]
        return self._undisturbed_at_start[index] if since <= real < until else real - self._lost[index]

    @cached_property
    def _starts(self) -> list[datetime]:
        return [piece.real_from for piece in self.clock]

    @cached_property
    def _windows(self) -> list[Window]:
        """When the system was disturbed: each fault with the lease TTL after it, joined where they overlap."""
        joined: list[Window] = []
        for since, ended in sorted(self.faults):
            until = ended + self._lease_ttl
            if joined and since <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], until))
            else:
                joined.append((since, until))
        return joined

    @cached_property
    def _lost(self) -> list[timedelta]:
        """How long the system was disturbed up to the end of each window."""
        return list(accumulate(until - since for since, until in self._windows))

    @cached_property
    def _undisturbed_at_start(self) -> list[datetime]:
        before = (timedelta(0), *self._lost)
        return [since - lost for (since, _), lost in zip(self._windows, before)]  # noqa: B905  # one longer on purpose

    @property
    def _lease_ttl(self) -> timedelta:
        return timedelta(seconds=self.lease_ttl_s)


async def clock_piece(connection: "asyncpg.Connection[Any]") -> ClockPiece:
    """The piece that the test clock runs on now, from the database itself: to be asked after each time it is set."""
    return ClockPiece(*await connection.fetchrow(_TEST_CLOCK))


def _since(window: Window) -> datetime:
    return window[0]


def _business(piece: ClockPiece, real: datetime) -> datetime:
    return piece.business_from + (real - piece.real_from) * piece.rate


def _reached(piece: ClockPiece, business: datetime) -> datetime | None:
    """When a piece that goes on for ever shows `business`; None: not before the year 10000."""
    try:
        return piece.real_from + (business - piece.business_from) / piece.rate
    except OverflowError:
        return None
