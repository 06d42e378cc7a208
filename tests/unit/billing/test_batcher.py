"""Batches: many waiters, few flushes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
from tests.support.virtual_time import in_virtual_time

from middleman.billing.batcher import Batcher
from middleman.ports.errors import StaleTerm

LINGER_S = 0.05


class Flushes:
    """A flush that keeps its batches, doubles each item, and can be held up or made to fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.at_s: list[float] = []
        self.may_pass = asyncio.Event()
        self.may_pass.set()
        self.error: Exception | None = None

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        self.at_s.append(asyncio.get_running_loop().time())
        await self.may_pass.wait()
        if self.error is not None:
            raise self.error
        return [item * 2 for item in items]


@asynccontextmanager
async def running(batcher: Batcher[int, int]) -> AsyncIterator["asyncio.Task[None]"]:
    task = asyncio.create_task(batcher.run())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError, StaleTerm):
            await task


@in_virtual_time
async def test_items_of_one_moment_make_one_batch_and_each_gets_its_own_result() -> None:
    flushes = Flushes()
    batcher = Batcher(flushes, limit=100, linger_s=LINGER_S)
    async with running(batcher):
        assert await asyncio.gather(*(batcher.submit(n) for n in range(10))) == [n * 2 for n in range(10)]
    assert flushes.batches == [list(range(10))]


@in_virtual_time
async def test_the_first_item_after_a_quiet_time_goes_at_once_and_the_next_linger_for_company() -> None:
    flushes = Flushes()
    batcher = Batcher(flushes, limit=100, linger_s=LINGER_S)
    loop = asyncio.get_running_loop()
    async with running(batcher):
        for _ in range(2):
            started_s = loop.time()
            await batcher.submit(0)
            first = asyncio.create_task(batcher.submit(1))
            await asyncio.sleep(LINGER_S / 2)
            await asyncio.gather(first, batcher.submit(2))
            assert flushes.batches == [[0], [1, 2]]
            assert flushes.at_s == [started_s, pytest.approx(started_s + LINGER_S)]
            await asyncio.sleep(LINGER_S)
            flushes.batches, flushes.at_s = [], []


@in_virtual_time
async def test_a_full_batch_does_not_linger() -> None:
    flushes = Flushes()
    batcher = Batcher(flushes, limit=3, linger_s=3600)
    started_s = asyncio.get_running_loop().time()
    async with running(batcher):
        await asyncio.gather(*(batcher.submit(n) for n in range(6)))
    assert flushes.batches == [[0, 1, 2], [3, 4, 5]]
    assert flushes.at_s == [started_s, started_s]


@in_virtual_time
async def test_once_hurried_nothing_lingers_any_more() -> None:
    flushes = Flushes()
    batcher = Batcher(flushes, limit=100, linger_s=3600)
    started_s = asyncio.get_running_loop().time()
    async with running(batcher):
        await batcher.submit(0)
        lingering = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(1)
        assert not lingering.done()
        batcher.hurry()
        await lingering
        await batcher.submit(2)
    assert flushes.batches == [[0], [1], [2]]
    assert flushes.at_s == [started_s, started_s + 1, started_s + 1]


@in_virtual_time
async def test_what_arrives_during_a_flush_makes_up_the_next_batches_in_order() -> None:
    flushes = Flushes()
    flushes.may_pass.clear()
    batcher = Batcher(flushes, limit=4, linger_s=0)
    async with running(batcher):
        waiting = [asyncio.create_task(batcher.submit(0))]
        await asyncio.sleep(0.001)
        assert flushes.batches == [[0]]
        waiting += [asyncio.create_task(batcher.submit(n)) for n in range(1, 7)]
        await asyncio.sleep(1)
        assert flushes.batches == [[0]], "one flush runs at a time"
        flushes.may_pass.set()
        assert await asyncio.gather(*waiting) == [n * 2 for n in range(7)]
    assert flushes.batches == [[0], [1, 2, 3, 4], [5, 6]]


@in_virtual_time
async def test_a_flush_that_fails_ends_the_batcher_with_its_error() -> None:
    flushes = Flushes()
    flushes.error = StaleTerm("a later one has begun")
    batcher = Batcher(flushes, limit=1, linger_s=0)
    async with running(batcher) as task:
        waiter = asyncio.create_task(batcher.submit(1))
        with pytest.raises(StaleTerm):
            await task
        assert not waiter.done(), "nobody may take a failed flush for a written one"
        waiter.cancel()


@in_virtual_time
async def test_a_waiter_that_gave_up_does_not_disturb_the_others() -> None:
    flushes = Flushes()
    flushes.may_pass.clear()
    batcher = Batcher(flushes, limit=10, linger_s=LINGER_S)
    async with running(batcher):
        gone, stays = (asyncio.create_task(batcher.submit(n)) for n in (1, 2))
        await asyncio.sleep(2 * LINGER_S)
        gone.cancel()
        flushes.may_pass.set()
        assert await stays == 4
        assert await batcher.submit(3) == 6
    assert flushes.batches == [[1, 2], [3]]
