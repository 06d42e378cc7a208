"""The small parts: term, backoff, interruption."""

import asyncio
import uuid

import pytest
from tests.support.virtual_time import in_virtual_time

from middleman.leadership.backoff import Backoff
from middleman.leadership.waiting import Interrupted, interrupted_by
from middleman.ports.term import Term


def test_a_term_is_a_value() -> None:
    uid = uuid.uuid4()
    assert Term(3, uid, 0, "r1", 12) == Term(3, uid, 0, "r1", 12)
    assert Term(3, uid, 0, "r1", 12) != Term(3, uuid.uuid4(), 0, "r1", 12)


@pytest.mark.parametrize(("number", "holder"), [(0, "r1"), (1, "")])
def test_a_term_without_number_or_holder_is_none(number: int, holder: str) -> None:
    with pytest.raises(ValueError, match="term"):
        Term(number, uuid.uuid4(), 0, holder, 12)


def test_pauses_double_up_to_their_bound_and_start_small_again() -> None:
    pause = Backoff(0.1, 1.0, lambda: 0.0)
    assert [pause.next_delay_s() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    pause.reset()
    assert pause.next_delay_s() == 0.1


def test_chance_shortens_a_pause_by_at_most_a_half() -> None:
    assert Backoff(1.0, 1.0, lambda: 0.999).next_delay_s() == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(("initial_s", "max_s"), [(0.0, 1.0), (2.0, 1.0)])
def test_a_pause_that_would_spin_or_shrink_is_refused(initial_s: float, max_s: float) -> None:
    with pytest.raises(ValueError, match="backoff"):
        Backoff(initial_s, max_s, lambda: 0.0)


@in_virtual_time
async def test_a_block_is_left_as_soon_as_the_event_is_set() -> None:
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(3, event.set)
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(Interrupted):
        async with interrupted_by(event):
            await asyncio.sleep(60)
    assert asyncio.get_running_loop().time() - began_s == pytest.approx(3)


@in_virtual_time
async def test_a_block_whose_event_was_set_before_is_left_at_its_first_wait() -> None:
    event = asyncio.Event()
    event.set()
    with pytest.raises(Interrupted):
        async with interrupted_by(event):
            await asyncio.sleep(60)


@in_virtual_time
async def test_a_block_that_ends_first_is_not_interrupted() -> None:
    event = asyncio.Event()
    async with interrupted_by(event):
        await asyncio.sleep(1)
    event.set()
    await asyncio.sleep(1)


@in_virtual_time
async def test_an_event_set_in_the_turn_in_which_the_block_ends_breaks_nothing() -> None:
    """However many turns lie between the two: no callback of the watcher may meet a block that has ended."""
    broken: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context["message"]))
    for turns in range(5):
        event = asyncio.Event()
        try:
            async with interrupted_by(event):
                await asyncio.sleep(0)
                event.set()
                for _ in range(turns):
                    await asyncio.sleep(0)
        except Interrupted:
            assert turns > 0
        await asyncio.sleep(1)
    assert broken == []


@in_virtual_time
async def test_a_timeout_inside_a_block_stays_a_timeout() -> None:
    async def block() -> None:
        async with interrupted_by(asyncio.Event()), asyncio.timeout(1):
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await block()


@in_virtual_time
async def test_a_cancellation_from_outside_stays_a_cancellation() -> None:
    async def block() -> None:
        async with interrupted_by(asyncio.Event()):
            await asyncio.sleep(60)

    task = asyncio.create_task(block())
    await asyncio.sleep(1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
