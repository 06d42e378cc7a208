"""Billing periods: where they begin and end, in database-compatible arithmetic.

Period n (from 0) is the half-open interval ``[boundary(n), boundary(n + 1))`` and falls due at its start::

    boundary(n) = (anchor_local + n × interval) AT TIME ZONE tz

always computed from the anchor, never from the last date: 31 January + 1 month is 28 February, + 2 months is
31 March. Both steps give exactly what PostgreSQL gives (``timestamp + make_interval(…)``, ``AT TIME ZONE``),
which a test compares over thousands of dates. Boundaries grow strictly, with one exception known to history:
a calendar day that a zone left out (Samoa had no 30 December 2011) is a daily period of no length.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import assert_never
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


class PeriodError(ValueError):
    """An interval, anchor or time zone that makes no schedule; the message says what to change."""


class IntervalUnit(StrEnum):
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


MAX_COUNT = {
    IntervalUnit.DAY: 1095,
    IntervalUnit.WEEK: 156,
    IntervalUnit.MONTH: 36,
    IntervalUnit.YEAR: 3,
}
"""Three years, the longest interval at Stripe too (https://docs.stripe.com/api/prices/create)."""


@dataclass(frozen=True, slots=True)
class BillingInterval:
    """`count` days, weeks, calendar months or calendar years."""

    unit: IntervalUnit
    count: int = 1

    def __post_init__(self) -> None:
        if self.unit not in MAX_COUNT:
            raise PeriodError(f"an interval's unit is day, week, month or year, got {self.unit!r}")
        if not 1 <= self.count <= MAX_COUNT[self.unit]:
            raise PeriodError(f"an interval has 1 to {MAX_COUNT[self.unit]} {self.unit}s, got {self.count}")

    def after(self, local: datetime, times: int) -> datetime:
        """`local` + `times` × this interval, on the calendar; the day is clamped to the end of the month."""
        steps = times * self.count
        match self.unit:
            case IntervalUnit.DAY:
                return local + timedelta(days=steps)
            case IntervalUnit.WEEK:
                return local + timedelta(weeks=steps)
            case IntervalUnit.MONTH:
                return _add_months(local, steps)
            case IntervalUnit.YEAR:
                return _add_months(local, 12 * steps)
            case other:
                assert_never(other)


@dataclass(frozen=True, slots=True)
class BillingPeriod:
    """``[start, end)`` in UTC."""

    period_no: int
    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    """`anchor_local` is a naive wall-clock time in `time_zone`, an IANA name such as "Europe/Berlin"."""

    anchor_local: datetime
    time_zone: str
    interval: BillingInterval

    def __post_init__(self) -> None:
        if self.anchor_local.tzinfo is not None:
            raise PeriodError(
                f"an anchor is a local time without offset, got {self.anchor_local}: name the zone apart"
            )
        _zone(self.time_zone)

    def boundary(self, n: int) -> datetime:
        """The aware UTC instant at which period `n` (from 0) starts and period `n` - 1 ends."""
        if n < 0:
            raise PeriodError(f"periods are counted from 0, got {n}")
        try:
            return at_time_zone(self.interval.after(self.anchor_local, n), self.time_zone)
        except (OverflowError, ValueError) as error:
            raise PeriodError(f"period {n} of {self} lies beyond the calendar") from error

    def period(self, n: int) -> BillingPeriod:
        return BillingPeriod(n, self.boundary(n), self.boundary(n + 1))


def at_time_zone(local: datetime, time_zone: str) -> datetime:
    """The UTC instant of a naive `local` time, resolved as PostgreSQL does.

    A local time that does not exist takes the offset before the change, one that exists twice its later
    reading (https://www.postgresql.org/docs/current/datetime-invalid-input.html). Both are the smaller of
    the two offsets that PEP 495 gives.
    """
    zone = _zone(time_zone)
    first, second = (local.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert first is not None  # a ZoneInfo always knows its offset
    assert second is not None
    return (local - min(first, second)).replace(tzinfo=UTC, fold=0)


def _add_months(local: datetime, months: int) -> datetime:
    year, month0 = divmod(local.year * 12 + local.month - 1 + months, 12)
    if not 1 <= year <= 9999:
        raise OverflowError(f"{local} + {months} months lies beyond the calendar")
    day = min(local.day, calendar.monthrange(year, month0 + 1)[1])
    return local.replace(year=year, month=month0 + 1, day=day)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise PeriodError(f"unknown time zone {name!r}: use an IANA name like Europe/Berlin") from error
