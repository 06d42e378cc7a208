"""Work beside other work: a failure reaches the body, also in the turn in which the body ends."""

import asyncio

import pytest
from tests.support.virtual_time import in_virtual_time

from chaos.demo.tasks import beside


@in_virtual_time
async def test_a_failure_in_the_turn_in_which_the_body_ends_is_raised_or_never_happened() -> None:
    for turns in range(5):
        failing = asyncio.Event()

        async def work(failing: asyncio.Event = failing) -> None:
            await failing.wait()
            raise ValueError("the work failed")

        try:
            async with beside(work()):
                await asyncio.sleep(0)
                failing.set()
                for _ in range(turns):
                    await asyncio.sleep(0)
        except ValueError:
            assert turns > 0
        current = asyncio.current_task()
        assert current is not None
        assert current.cancelling() == 0
        await asyncio.sleep(1)  # a cancellation that was left behind would end this


@in_virtual_time
async def test_a_failure_ends_the_body_and_is_raised() -> None:
    async def work() -> None:
        raise ValueError("the work failed")

    async def play() -> None:
        async with beside(work()):
            await asyncio.sleep(60)

    with pytest.raises(ValueError, match="the work failed"):
        await play()
