"""Which clock is wrong, how exactly that is known, and how little is said about it."""

import asyncio
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs
from tests.support.pipeline_rig import CLOCK_TOLERANCE_S, CountingObserver, a_clock_check
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.clock_check import MOST_AGE_S, ClockCheck, ClocksApart
from middleman.ports.clock import ClockReading

HOUR_S = 3600.0
JUST_TOO_MUCH_S = CLOCK_TOLERANCE_S + 1
JUST_TOLERATED_S = CLOCK_TOLERANCE_S - 1


@dataclass
class Clocks:
    """Three clocks, each set wrong by a number of seconds, and the check that compares them."""

    clock: VirtualClock = field(default_factory=VirtualClock)
    observer: CountingObserver = field(default_factory=CountingObserver)
    database_ahead_s: float = 0.0
    processor: ClockReading | None = None

    def __post_init__(self) -> None:
        self.check: ClockCheck = a_clock_check(self.clock, lambda: self.processor, self.observer)

    def processor_answers(self, ahead_s: float = 0.0, *, took_s: float = 0.0) -> None:
        """An answer that has just come, to a request that was sent `took_s` ago; its `Date` has whole seconds."""
        now_s = self.clock.boottime_s()
        self.processor = ClockReading(float(int(now_s + ahead_s)), now_s - took_s, now_s, 1.0)

    def agree(self) -> bool:
        """Whether something may be claimed now."""
        now_s = self.clock.boottime_s()
        try:
            self.check.require(ClockReading(now_s + self.database_ahead_s, now_s, now_s))
        except ClocksApart:
            return False
        return True


@pytest.mark.parametrize("off_s", [JUST_TOO_MUCH_S + 1, HOUR_S, -JUST_TOO_MUCH_S - 1, -HOUR_S])
@pytest.mark.parametrize("wrong", ["database", "replica", "processor"])
@in_virtual_time
async def test_of_three_clocks_the_odd_one_out_is_named(wrong: str, off_s: float) -> None:
    clocks = Clocks()
    clocks.processor_answers(off_s if wrong == "processor" else 0.0)
    clocks.database_ahead_s = off_s if wrong == "database" else 0.0
    clocks.clock.wall_ahead_s = off_s if wrong == "replica" else 0.0
    assert not clocks.agree()
    assert clocks.observer.wrong_clocks == [wrong]


@in_virtual_time
async def test_of_two_clocks_it_is_only_known_that_they_differ() -> None:
    clocks = Clocks(database_ahead_s=HOUR_S)
    assert not clocks.agree()
    assert clocks.observer.wrong_clocks == ["undecided"]


@in_virtual_time
async def test_an_answer_of_the_processor_decides_between_two_clocks() -> None:
    clocks = Clocks(database_ahead_s=HOUR_S)
    assert not clocks.agree()
    clocks.processor_answers()
    assert not clocks.agree()
    assert clocks.observer.wrong_clocks == ["undecided", "database"]


@in_virtual_time
async def test_three_clocks_that_all_differ_name_none() -> None:
    clocks = Clocks(database_ahead_s=HOUR_S)
    clocks.processor_answers(-HOUR_S)
    assert not clocks.agree()
    assert clocks.observer.wrong_clocks == ["undecided"]


@in_virtual_time
async def test_two_clocks_too_far_apart_with_the_third_between_them_name_none() -> None:
    clocks = Clocks(database_ahead_s=200.0)
    clocks.processor_answers(-200.0)
    assert not clocks.agree()
    assert clocks.observer.wrong_clocks == ["undecided"]


@pytest.mark.parametrize("off_s", [JUST_TOLERATED_S, -JUST_TOLERATED_S, 0.0])
@in_virtual_time
async def test_a_few_minutes_are_tolerated(off_s: float) -> None:
    clocks = Clocks(database_ahead_s=off_s)
    clocks.processor_answers()
    assert clocks.agree()
    assert clocks.observer.wrong_clocks == []


@pytest.mark.parametrize(
    ("shown_s", "surely_apart"),
    [
        (CLOCK_TOLERANCE_S - 5, False),
        (CLOCK_TOLERANCE_S + 2, True),
        (-CLOCK_TOLERANCE_S - 5, False),
        (-CLOCK_TOLERANCE_S - 13, True),
    ],
)
@in_virtual_time
async def test_a_slow_answer_counts_only_for_what_it_surely_shows(shown_s: float, surely_apart: bool) -> None:
    """Its `Date` may be as old as the request, here ten seconds, and its second may be nearly over."""
    clocks = Clocks()
    clocks.processor_answers(shown_s, took_s=10.0)
    assert clocks.agree() is not surely_apart


@in_virtual_time
async def test_a_database_answer_read_late_by_a_frozen_process_is_no_difference() -> None:
    clocks = Clocks()
    asked_s = clocks.clock.boottime_s()
    clocks.clock.suspend(HOUR_S)
    clocks.check.require(ClockReading(asked_s, asked_s, clocks.clock.boottime_s()))


@in_virtual_time
async def test_an_old_answer_of_the_processor_is_carried_forward_and_left_out_after_some_minutes() -> None:
    clocks = Clocks()
    clocks.processor_answers(HOUR_S)
    await asyncio.sleep(MOST_AGE_S + 1)
    assert clocks.agree()
    clocks.processor_answers()
    await asyncio.sleep(MOST_AGE_S - 1)
    assert clocks.agree()
    clocks.clock.wall_ahead_s = clocks.database_ahead_s = HOUR_S
    assert not clocks.agree(), "one machine has both clocks, and only the processor contradicts"
    assert clocks.observer.wrong_clocks == ["processor"]


@in_virtual_time
async def test_silence_of_the_processor_makes_no_clock_right() -> None:
    clocks = Clocks()
    clocks.processor_answers()
    clocks.clock.wall_ahead_s = clocks.database_ahead_s = HOUR_S
    assert not clocks.agree()
    await asyncio.sleep(10 * MOST_AGE_S)
    assert not clocks.agree()
    clocks.processor_answers(HOUR_S)
    assert clocks.agree()


@in_virtual_time
async def test_a_difference_that_lasts_is_logged_once_a_minute_and_its_end_once() -> None:
    clocks = Clocks(database_ahead_s=HOUR_S)
    with capture_logs() as lines:
        for _ in range(1800):
            clocks.agree()
            await asyncio.sleep(0.1)
        clocks.database_ahead_s = 0.0
        for _ in range(100):
            clocks.agree()
            await asyncio.sleep(0.1)
    assert [line["event"] for line in lines] == ["clocks.apart"] * 3 + ["clocks.agree"]
    assert lines[0]["wrong"] == "undecided"
    assert lines[0]["database_ahead_s"] == HOUR_S
    assert lines[0]["processor_ahead_s"] is None


@in_virtual_time
async def test_a_clock_at_the_edge_of_what_is_tolerated_changes_the_verdict_once() -> None:
    clocks = Clocks()
    with capture_logs() as lines:
        for number in range(40):
            clocks.database_ahead_s = JUST_TOO_MUCH_S if number % 2 else JUST_TOLERATED_S
            clocks.agree()
            await asyncio.sleep(1)
    assert [line["event"] for line in lines] == ["clocks.apart"]
    assert clocks.observer.wrong_clocks == ["undecided"]


@in_virtual_time
async def test_a_new_term_compares_afresh() -> None:
    clocks = Clocks(database_ahead_s=HOUR_S)
    assert not clocks.agree()
    clocks.check.begin_term()
    clocks.database_ahead_s = JUST_TOLERATED_S
    assert clocks.agree()


@in_virtual_time
async def test_how_far_the_clocks_are_ahead_is_shown_while_they_agree_as_well() -> None:
    clocks = Clocks(database_ahead_s=12.0)
    clocks.processor_answers(-7.0, took_s=2.0)
    assert clocks.agree()
    ahead_s = clocks.observer.clocks_ahead_s
    assert ahead_s["database"] == 12.0
    assert ahead_s["processor"] == pytest.approx(-5.5, abs=1.0)


@in_virtual_time
async def test_a_new_answer_is_wanted_when_there_is_none_it_is_old_or_the_clocks_are_apart() -> None:
    clocks = Clocks()
    assert clocks.check.wants_processor()
    clocks.processor_answers()
    assert not clocks.check.wants_processor()
    await asyncio.sleep(60)
    assert clocks.check.wants_processor()
    clocks.processor_answers(HOUR_S)
    assert not clocks.agree()
    await asyncio.sleep(5)
    assert clocks.check.wants_processor()
