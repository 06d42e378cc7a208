"""Calls make room for the lease when the event loop is late."""

import asyncio
from typing import cast

import pytest
from tests.support.virtual_time import VirtualClock, VirtualTimeLoop, in_virtual_time

from middleman.billing.observer import SilentBillingObserver
from middleman.billing.pace import LATE_S, PROBE_INTERVAL_S, Pace, Slots

FULL = 64
RENEWAL_TURNS = 5
RENEWAL_BOUND_S = 0.5


def busy(work_s: float) -> None:
    """Work on the loop: nothing else runs meanwhile."""
    cast("VirtualTimeLoop", asyncio.get_running_loop())._jumping.now_s += work_s


async def calls_for_ever(slots: Slots, work_s: float) -> None:
    """One caller of many: each answer costs so much of the loop's time."""
    while True:
        async with slots:
            await asyncio.sleep(0)  # the answer is there in the next turn
            busy(work_s)


async def renewal_s() -> float:
    """How long something takes that needs a few turns of the loop."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for _ in range(RENEWAL_TURNS):
        await asyncio.sleep(0)
    return loop.time() - began_s


@pytest.mark.parametrize("paced", [True, False])
@in_virtual_time
async def test_a_leader_on_a_starved_machine_gets_its_lease_renewed_only_with_pace(paced: bool) -> None:
    slots = Slots(FULL)
    pace = Pace(slots, VirtualClock(), SilentBillingObserver())
    tasks = [asyncio.create_task(calls_for_ever(slots, 0.01)) for _ in range(500)]
    if paced:
        tasks.append(asyncio.create_task(pace.keep()))
    try:
        await asyncio.sleep(5)
        took_s = [await renewal_s() for _ in range(20)]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    in_time = sum(took <= RENEWAL_BOUND_S for took in took_s)
    assert in_time >= 19 if paced else in_time == 0


@in_virtual_time
async def test_a_loop_in_time_gets_all_its_calls_back_within_a_second() -> None:
    slots = Slots(FULL)
    pace = Pace(slots, VirtualClock(), SilentBillingObserver())
    for _ in range(10):
        pace.felt(LATE_S * 2)
    assert slots.limit == 2
    watching = asyncio.create_task(pace.keep())
    await asyncio.sleep(1.0)
    watching.cancel()
    assert slots.limit == FULL


def test_one_call_at_once_stays_one() -> None:
    slots = Slots(1)
    pace = Pace(slots, VirtualClock(), SilentBillingObserver())
    for late_s in (LATE_S * 2, 0.0, LATE_S * 2):
        pace.felt(late_s)
        assert slots.limit == 1


@in_virtual_time
async def test_no_more_than_the_limit_are_in_and_who_waits_is_served_in_order() -> None:
    slots = Slots(2)
    order: list[int] = []
    inside = 0

    async def enter(number: int) -> None:
        nonlocal inside
        async with slots:
            inside += 1
            assert inside <= 2
            order.append(number)
            await asyncio.sleep(1)
            inside -= 1

    await asyncio.gather(*(enter(number) for number in range(7)))
    assert order == list(range(7))


@in_virtual_time
async def test_a_smaller_limit_lets_nobody_in_until_enough_have_left() -> None:
    slots = Slots(4)
    release = asyncio.Event()
    entered: list[int] = []

    async def enter(number: int) -> None:
        async with slots:
            entered.append(number)
            await release.wait()

    tasks = [asyncio.create_task(enter(number)) for number in range(6)]
    await asyncio.sleep(0.1)
    slots.resize(1)
    assert entered == [0, 1, 2, 3]
    release.set()
    await asyncio.gather(*tasks)
    assert entered == list(range(6))


@in_virtual_time
async def test_who_gives_up_waiting_takes_no_place_away() -> None:
    slots = Slots(1)

    async def wait_in_vain() -> None:
        async with slots:
            raise AssertionError("it was not our turn")

    async with slots:
        waiting = [asyncio.create_task(wait_in_vain()) for _ in range(3)]
        await asyncio.sleep(PROBE_INTERVAL_S)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    async with asyncio.timeout(1), slots:
        assert all(task.cancelled() for task in waiting)


@in_virtual_time
async def test_a_turn_given_to_somebody_who_is_cancelled_at_that_moment_is_passed_on() -> None:
    slots = Slots(1)
    entered: list[str] = []

    async def enter(name: str) -> None:
        async with slots:
            entered.append(name)

    async with slots:
        first, second = (asyncio.create_task(enter(name)) for name in ("first", "second"))
        await asyncio.sleep(PROBE_INTERVAL_S)
    first.cancel()  # its turn was given in the line above, and it has not run since
    await asyncio.gather(first, second, return_exceptions=True)
    assert entered == ["second"]
