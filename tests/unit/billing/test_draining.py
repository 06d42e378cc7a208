"""Waiting that a graceful stop ends."""

import asyncio
import gc

from tests.support.virtual_time import in_virtual_time

from middleman.billing.draining import done_before


@in_virtual_time
async def test_a_condition_that_draining_cuts_off_has_ended_on_return() -> None:
    draining, unwound = asyncio.Event(), []

    async def condition() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            unwound.append("unwound")

    asyncio.get_running_loop().call_later(1, draining.set)
    assert not await done_before(draining, condition())
    assert unwound == ["unwound"]


@in_virtual_time
async def test_a_caller_that_is_cancelled_in_the_turn_in_which_the_condition_fails_leaves_nothing_unseen() -> (
    None
):
    unseen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unseen.append(context["message"]))
    for turns in range(5):
        failing = asyncio.Event()

        async def condition(failing: asyncio.Event = failing) -> None:
            await failing.wait()
            raise ValueError("the condition failed")

        caller = asyncio.create_task(done_before(asyncio.Event(), condition()))
        await asyncio.sleep(1)
        failing.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        del caller
        await asyncio.sleep(1)
        gc.collect()
    assert unseen == []
