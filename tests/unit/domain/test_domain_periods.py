"""Billing periods over ten years: no gap, no overlap, no drift."""

import calendar
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleman.domain.periods import (
    MAX_COUNT,
    BillingInterval,
    IntervalUnit,
    PeriodError,
    Schedule,
    at_time_zone,
)

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "Asia/Kathmandu",  # +05:45
    "Pacific/Apia",
    "Pacific/Chatham",  # +12:45 and daylight saving
    "Africa/Casablanca",  # daylight saving below zero
    "America/St_Johns",
]
TEN_YEARS = timedelta(days=3653)


def _local(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 -- six integers; naive by definition


anchors = st.datetimes(_local(2024, 1, 1), _local(2026, 12, 31, 23, 59)) | st.builds(
    # The days that hurt: the ends of months, and the hours in which clocks change.
    lambda month, hour, minute: _local(2024, month, calendar.monthrange(2024, month)[1], hour, minute),
    st.integers(1, 12),
    st.integers(0, 3),
    st.sampled_from([0, 30, 59]),
)
intervals = st.sampled_from(list(IntervalUnit)).flatmap(
    lambda unit: st.builds(BillingInterval, st.just(unit), st.integers(1, MAX_COUNT[unit]))
)
schedules = st.builds(Schedule, anchors, st.sampled_from(ZONES), intervals)


def _in_ten_years(schedule: Schedule) -> int:
    days = {IntervalUnit.DAY: 1, IntervalUnit.WEEK: 7, IntervalUnit.MONTH: 31, IntervalUnit.YEAR: 366}
    return TEN_YEARS.days // (days[schedule.interval.unit] * schedule.interval.count) + 1


@given(schedules, st.data())
def test_each_period_begins_where_the_last_one_ended_and_has_a_length(
    schedule: Schedule, data: st.DataObject
) -> None:
    n = data.draw(st.integers(0, _in_ten_years(schedule)))
    period, following = schedule.period(n), schedule.period(n + 1)

    assert period.start < period.end == following.start < following.end


@pytest.mark.parametrize("zone", ZONES)
def test_daily_boundaries_grow_strictly_through_every_change_of_clocks(zone: str) -> None:
    for hour, minute in ((0, 0), (1, 30), (2, 0), (2, 30), (3, 0)):
        schedule = Schedule(_local(2025, 1, 1, hour, minute), zone, BillingInterval(IntervalUnit.DAY))
        boundaries = [schedule.boundary(n) for n in range(3653)]
        gaps = {later - earlier for earlier, later in pairwise(boundaries)}
        assert min(gaps) >= timedelta(hours=22)
        assert max(gaps) <= timedelta(hours=26)


@given(schedules, st.integers(0, 60))
def test_a_boundary_keeps_the_anchors_wall_clock_time_wherever_that_exists(
    schedule: Schedule, n: int
) -> None:
    zone = ZoneInfo(schedule.time_zone)
    wanted = schedule.interval.after(schedule.anchor_local, n)
    readings = (wanted.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    exists = any(reading.astimezone(zone).replace(tzinfo=None, fold=0) == wanted for reading in readings)

    shown = schedule.boundary(n).astimezone(zone).replace(tzinfo=None, fold=0)
    if exists:
        assert shown == wanted
    else:
        assert timedelta(0) < shown - wanted <= timedelta(hours=1)


@given(anchors, st.sampled_from(ZONES), st.integers(1, 36), st.integers(0, 10))
def test_months_do_not_drift_whatever_the_steps(anchor: datetime, zone: str, count: int, n: int) -> None:
    """n steps of `count` months end where n × count steps of one month end."""
    coarse = Schedule(anchor, zone, BillingInterval(IntervalUnit.MONTH, count))
    fine = Schedule(anchor, zone, BillingInterval(IntervalUnit.MONTH))

    assert coarse.boundary(n) == fine.boundary(n * count)


@given(anchors, st.sampled_from(ZONES), st.integers(0, 10))
def test_a_year_is_twelve_months_and_a_week_is_seven_days(anchor: datetime, zone: str, n: int) -> None:
    def boundary(unit: IntervalUnit, steps: int) -> datetime:
        return Schedule(anchor, zone, BillingInterval(unit)).boundary(steps)

    assert boundary(IntervalUnit.YEAR, n) == boundary(IntervalUnit.MONTH, 12 * n)
    assert boundary(IntervalUnit.WEEK, n) == boundary(IntervalUnit.DAY, 7 * n)


def _dates(anchor: datetime, unit: IntervalUnit, steps: int) -> list[str]:
    schedule = Schedule(anchor, "UTC", BillingInterval(unit))
    return [schedule.boundary(n).date().isoformat() for n in range(steps)]


def test_the_31st_falls_on_the_last_of_shorter_months_and_comes_back() -> None:
    assert _dates(_local(2027, 1, 31), IntervalUnit.MONTH, 6) == [
        "2027-01-31",
        "2027-02-28",
        "2027-03-31",
        "2027-04-30",
        "2027-05-31",
        "2027-06-30",
    ]
    assert _dates(_local(2028, 1, 31), IntervalUnit.MONTH, 3)[1:] == ["2028-02-29", "2028-03-31"]


def test_a_leap_day_falls_on_28_february_and_comes_back_four_years_later() -> None:
    assert _dates(_local(2028, 2, 29), IntervalUnit.YEAR, 5) == [
        "2028-02-29",
        "2029-02-28",
        "2030-02-28",
        "2031-02-28",
        "2032-02-29",
    ]


@pytest.mark.parametrize(
    ("local", "zone", "utc"),
    [
        # No 02:30 on 29 March 2026 in Berlin: the offset before the change.
        (_local(2026, 3, 29, 2, 30), "Europe/Berlin", datetime(2026, 3, 29, 1, 30, tzinfo=UTC)),
        # 02:30 twice on 25 October 2026: the later one, in standard time.
        (_local(2026, 10, 25, 2, 30), "Europe/Berlin", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        (_local(2026, 10, 4, 2, 15), "Australia/Lord_Howe", datetime(2026, 10, 3, 15, 45, tzinfo=UTC)),
        (_local(2026, 4, 5, 1, 45), "Australia/Lord_Howe", datetime(2026, 4, 4, 15, 15, tzinfo=UTC)),
        (_local(2026, 6, 1, 0, 0), "Asia/Kathmandu", datetime(2026, 5, 31, 18, 15, tzinfo=UTC)),
        (_local(2011, 12, 30, 0, 0), "Pacific/Apia", datetime(2011, 12, 30, 10, 0, tzinfo=UTC)),
    ],
)
def test_local_times_that_do_not_exist_or_exist_twice(local: datetime, zone: str, utc: datetime) -> None:
    assert at_time_zone(local, zone) == utc


def test_the_day_that_samoa_left_out_is_a_daily_period_without_length() -> None:
    schedule = Schedule(_local(2011, 12, 28), "Pacific/Apia", BillingInterval(IntervalUnit.DAY))
    lengths = [schedule.period(n).end - schedule.period(n).start for n in range(4)]

    assert lengths == [timedelta(days=1), timedelta(days=1), timedelta(0), timedelta(days=1)]


def test_intervals_have_one_to_three_years() -> None:
    for unit, most in MAX_COUNT.items():
        assert BillingInterval(unit, most).count == most
        for count in (0, -1, most + 1):
            with pytest.raises(PeriodError, match=f"1 to {most}"):
                BillingInterval(unit, count)
    with pytest.raises(PeriodError, match="day, week, month or year"):
        BillingInterval("fortnight")  # type: ignore[arg-type]  # the wrong type is the point


@pytest.mark.parametrize("zone", ["", "Mars/Phobos", "../etc/passwd", "/etc/localtime", "Europe/\0"])
def test_an_unknown_time_zone_makes_no_schedule(zone: str) -> None:
    with pytest.raises(PeriodError, match="unknown time zone"):
        Schedule(_local(2026, 1, 1), zone, BillingInterval(IntervalUnit.MONTH))


def test_an_anchor_with_an_offset_makes_no_schedule() -> None:
    with pytest.raises(PeriodError, match="without offset"):
        Schedule(datetime(2026, 1, 1, tzinfo=UTC), "UTC", BillingInterval(IntervalUnit.MONTH))


def test_periods_beyond_the_calendar_or_before_the_first_are_refused() -> None:
    monthly = Schedule(_local(2026, 1, 1), "UTC", BillingInterval(IntervalUnit.MONTH))
    daily = Schedule(_local(2026, 1, 1), "UTC", BillingInterval(IntervalUnit.DAY))
    with pytest.raises(PeriodError, match="beyond the calendar"):
        monthly.boundary(100_000)
    with pytest.raises(PeriodError, match="beyond the calendar"):
        daily.boundary(10**7)
    with pytest.raises(PeriodError, match="counted from 0"):
        monthly.boundary(-1)
