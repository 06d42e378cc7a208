"""The judge's own calendar."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.doctored import subscription

from chaos.judge.books import Subscription
from chaos.judge.calendar import CalendarEndsError, boundary, periods_due

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia")


def every(unit: str, number: int, anchor: str, zone: str = "UTC") -> Subscription:
    """A schedule, in short."""
    return subscription(
        1,
        interval_unit=unit,
        interval_count=number,
        anchor_local=datetime.fromisoformat(anchor),
        time_zone=zone,
    )


@pytest.mark.parametrize(
    ("schedule", "number", "expected"),
    [
        (every("month", 1, "2026-01-31T00:00"), 1, "2026-02-28T00:00+00:00"),
        (every("month", 1, "2026-01-31T00:00"), 2, "2026-03-31T00:00+00:00"),
        (every("month", 1, "2024-01-31T00:00"), 1, "2024-02-29T00:00+00:00"),
        (every("year", 1, "2024-02-29T00:00"), 1, "2025-02-28T00:00+00:00"),
        (every("year", 1, "2024-02-29T00:00"), 4, "2028-02-29T00:00+00:00"),
        (every("week", 2, "2026-01-01T00:00"), 3, "2026-02-12T00:00+00:00"),
        # 02:30 does not exist on the night of the change: the offset before it, as PostgreSQL takes it.
        (every("day", 1, "2026-03-28T02:30", "Europe/Berlin"), 1, "2026-03-29T01:30+00:00"),
        # 02:30 happens twice: the second time.
        (every("day", 1, "2026-10-24T02:30", "Europe/Berlin"), 1, "2026-10-25T01:30+00:00"),
        # Samoa had no 30 December 2011.
        (every("day", 1, "2011-12-29T12:00", "Pacific/Apia"), 1, "2011-12-30T22:00+00:00"),
    ],
)
def test_boundaries_are_those_of_the_wall_clock(schedule: Subscription, number: int, expected: str) -> None:
    assert boundary(schedule, number) == datetime.fromisoformat(expected)


def test_a_boundary_beyond_the_calendar_is_an_error_and_never_due() -> None:
    schedule = every("year", 300, "2026-01-01T00:00")
    with pytest.raises(CalendarEndsError):
        boundary(schedule, 30)
    assert periods_due(schedule, datetime(9999, 12, 31, tzinfo=UTC)) == 27


@given(
    unit=st.sampled_from(["day", "week", "month", "year"]),
    number=st.integers(1, 14),
    anchor=st.datetimes(datetime(2015, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001  # wall clocks
    zone=st.sampled_from(ZONES),
    elapsed=st.timedeltas(timedelta(days=-40), timedelta(days=800)),
    ends_after=st.none() | st.timedeltas(timedelta(days=-40), timedelta(days=800)),
)
def test_counting_periods_by_estimate_equals_counting_them_one_by_one(
    unit: str, number: int, anchor: datetime, zone: str, elapsed: timedelta, ends_after: timedelta | None
) -> None:
    start = anchor.replace(tzinfo=UTC)
    schedule = subscription(
        1,
        interval_unit=unit,
        interval_count=number,
        anchor_local=anchor,
        time_zone=zone,
        ends_at=start + ends_after if ends_after is not None else None,
    )
    now = start + elapsed

    def is_due(period_no: int) -> bool:
        at = boundary(schedule, period_no)
        return at <= now and (schedule.ends_at is None or at < schedule.ends_at)

    assert periods_due(schedule, now) == next(each for each in count() if not is_due(each))
