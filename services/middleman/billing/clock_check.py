"""Claim nothing while the clocks that we know differ by more than a few minutes (ADR 0023).

The database's clock alone decides what is due. Where it is wrong by a year, a year's periods are due at once, and one
card is charged for all of them. So before a claim it is compared with two other clocks: this replica's, and the
processor's, as the `Date` of its latest answer shows it.

    database ── read in the claim's own transaction, before the claim
    replica ─── read at that moment
    processor ─ its latest answer, carried forward on the boottime clock

With three clocks the odd one out is named. With two, because the processor has not answered for some minutes, it is
only known that they differ. In both cases nothing new is claimed, until all agree again. What is open already is
collected and settled all the while: its amount, its card and its intent are fixed, whatever the clocks show.
"""

import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import structlog

from middleman.billing.observer import BillingObserver
from middleman.ports.clock import Clock, ClockReading, WallClock
from middleman.ports.store import FencedTransaction, Store
from middleman.ports.term import Term

log = structlog.get_logger(__name__)

MOST_AGE_S = 300.0
"""An older reading of the processor's clock is left out: a machine that was paused does not count the pause."""

_AGREE_AGAIN = 0.9
"""Of the tolerance: clocks that differ by just as much as is tolerated do not change the verdict all the time."""

_REFRESH_S = 30.0
_REFRESH_APART_S = 3.0
_LOG_EVERY_S = 60.0
_SHOW_EVERY_S = 1.0


class ClockName(StrEnum):
    """A clock that is compared, or `UNDECIDED` where it cannot be said which of them is wrong."""

    DATABASE = "database"
    REPLICA = "replica"
    PROCESSOR = "processor"
    UNDECIDED = "undecided"


class ClocksApart(Exception):
    """The clocks differ by more than is tolerated: nothing new may be claimed."""


ProcessorClock = Callable[[], ClockReading | None]
"""What the processor's clock showed last; None when it has not answered yet."""


class ClockCheck:
    """Compares the clocks before each claim. One object serves every term of a replica."""

    def __init__(
        self,
        *,
        clock: Clock,
        wall: WallClock,
        processor: ProcessorClock,
        tolerance_s: float,
        observer: BillingObserver,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._processor = processor
        self._tolerance_s = tolerance_s
        self._observer = observer
        self._odd: ClockName | None = None
        self._logged_at_s = self._shown_at_s = -math.inf

    def begin_term(self) -> None:
        """What an earlier term knew counts no more."""
        self._odd = None
        self._logged_at_s = self._shown_at_s = -math.inf

    def wants_processor(self) -> bool:
        """Whether a new reading of the processor's clock is of use: there is none, it is old, or the clocks are apart."""
        reading = self._processor()
        if reading is None:
            return True
        age_s = self._clock.boottime_s() - reading.not_after_s
        return age_s >= (_REFRESH_S if self._odd is None else _REFRESH_APART_S)

    def require(self, database: ClockReading) -> None:
        """Compare the clocks, of which the database's was just read. Raises `ClocksApart`."""
        now_s = self._clock.boottime_s()
        own = ClockReading(self._wall.unix_s(), now_s, now_s)
        readings = {ClockName.DATABASE: database, ClockName.REPLICA: own}
        processor = self._processor()
        # While the clocks are apart an old answer still counts: silence of the processor makes no clock right.
        if processor is not None and (self._odd is not None or now_s - processor.not_after_s <= MOST_AGE_S):
            readings[ClockName.PROCESSOR] = processor
        self._show(readings, now_s)
        odd = self._odd_one_out(readings)
        if odd is None:
            if self._odd is not None:
                log.warning("clocks.agree", **_ahead(readings))
                self._odd = None
                self._observer.clocks_apart(None)
            return
        if odd is not self._odd or now_s - self._logged_at_s >= _LOG_EVERY_S:
            self._logged_at_s = now_s
            log.error("clocks.apart", wrong=str(odd), tolerance_s=self._tolerance_s, **_ahead(readings))
        if odd is not self._odd:
            self._odd = odd
            self._observer.clocks_apart(odd)
        raise ClocksApart(f"{odd}: {_ahead(readings)}")

    def _odd_one_out(self, readings: Mapping[ClockName, ClockReading]) -> ClockName | None:
        """The clock that differs from all others, which agree; None when none differs."""
        pairs = list(combinations(readings, 2))
        apart = [pair for pair in pairs if self._differ(readings[pair[0]], readings[pair[1]])]
        if not apart:
            return None
        in_all = set(apart[0]).intersection(*apart[1:])
        if len(pairs) == 3 and len(apart) == 2:
            return in_all.pop()
        return ClockName.UNDECIDED

    def _differ(self, one: ClockReading, other: ClockReading) -> bool:
        """Whether they surely differ by too much; once that is so, whether they do not surely agree."""
        least, most = one.ahead_of(other)
        if self._odd is None:
            return least > self._tolerance_s or most < -self._tolerance_s
        return max(abs(least), abs(most)) > _AGREE_AGAIN * self._tolerance_s

    def _show(self, readings: Mapping[ClockName, ClockReading], now_s: float) -> None:
        if now_s - self._shown_at_s >= _SHOW_EVERY_S:
            self._shown_at_s = now_s
            own = readings[ClockName.REPLICA]
            for name, reading in readings.items():
                if name is not ClockName.REPLICA:
                    self._observer.clock_ahead(name, sum(reading.ahead_of(own)) / 2)


@dataclass(frozen=True, slots=True)
class ClockCheckedStore:
    """A `Store` for claims: a transaction ends before it does anything while the clocks are apart.

    The clock is read where the claim reads it, in its own transaction; so it cannot jump between the check and the claim
    unseen, but for the moment between two statements.
    """

    store: Store
    check: ClockCheck

    @asynccontextmanager
    async def fenced(self, term: Term) -> AsyncIterator[FencedTransaction]:
        """See `Store.fenced`. Raises `ClocksApart` besides; then nothing was done."""
        async with self.store.fenced(term) as transaction:
            self.check.require(transaction.clock)
            yield transaction


def _ahead(readings: Mapping[ClockName, ClockReading]) -> dict[str, float | None]:
    """How far each other clock is ahead of this replica's, for the log."""
    own = readings[ClockName.REPLICA]
    ahead = {name: round(sum(reading.ahead_of(own)) / 2, 1) for name, reading in readings.items()}
    return {
        "database_ahead_s": ahead[ClockName.DATABASE],
        "processor_ahead_s": ahead.get(ClockName.PROCESSOR),
    }
