"""What is being carried: bounded, and nothing twice."""

import asyncio

from tests.support.virtual_time import in_virtual_time

from middleman.billing.in_flight import InFlight
from middleman.domain.ids import AttemptId

A, B, C = AttemptId("at_a"), AttemptId("at_b"), AttemptId("at_c")


def test_an_attempt_is_taken_on_once_until_it_is_done() -> None:
    carried = InFlight(limit=2)
    assert carried.add(A)
    assert not carried.add(A)
    assert (len(carried), carried.room) == (1, 1)
    carried.discard(A)
    assert carried.add(A)


def test_there_is_never_less_than_no_room() -> None:
    carried = InFlight(limit=1)
    carried.add(A)
    carried.add(B)  # recovery takes on what it found, whatever the limit says
    assert carried.room == 0


async def settles(waiter: "asyncio.Task[None]") -> bool:
    """Whether the waiter ends by itself now."""
    await asyncio.sleep(0.001)
    return waiter.done()


@in_virtual_time
async def test_waiting_for_room_ends_when_enough_is_done() -> None:
    carried = InFlight(limit=3)
    for attempt in (A, B, C):
        carried.add(attempt)
    waiter = asyncio.create_task(carried.until_room(2))
    carried.discard(A)
    assert not await settles(waiter)
    carried.discard(B)
    assert await settles(waiter)


@in_virtual_time
async def test_more_room_than_there_can_be_is_all_the_room() -> None:
    carried = InFlight(limit=2)
    carried.add(A)
    waiter = asyncio.create_task(carried.until_room(100))
    assert not await settles(waiter)
    carried.discard(A)
    assert await settles(waiter)


@in_virtual_time
async def test_nobody_waits_for_an_attempt_that_was_deferred() -> None:
    carried = InFlight(limit=5)
    carried.add(A)
    carried.add(B)
    waiter = asyncio.create_task(carried.until_only_deferred())
    carried.defer(A)
    assert not await settles(waiter)
    carried.discard(B)
    assert await settles(waiter)
    everything = asyncio.create_task(carried.until_empty())
    assert not await settles(everything), "a deferred attempt is still being carried"
    carried.discard(A)
    assert await settles(everything)


@in_virtual_time
async def test_what_is_not_carried_cannot_be_deferred() -> None:
    carried = InFlight(limit=5)
    carried.defer(A)
    carried.add(B)
    waiter = asyncio.create_task(carried.until_only_deferred())
    assert not await settles(waiter)
    carried.discard(B)
    await waiter
    carried.add(A)
    again = asyncio.create_task(carried.until_only_deferred())
    assert not await settles(again), "it was not deferred since it was taken on"
    again.cancel()


@in_virtual_time
async def test_the_first_end_is_that_of_any_attempt_and_deferred_ones_are_not_waited_for() -> None:
    carried = InFlight(limit=5)
    carried.add(A)
    carried.add(B)
    waiter = asyncio.create_task(carried.until_first_end())
    assert not await settles(waiter)
    carried.discard(B)
    assert await settles(waiter)
    again = asyncio.create_task(carried.until_first_end())
    assert not await settles(again), "the one that has ended already does not count"
    carried.defer(A)
    assert await settles(again)
