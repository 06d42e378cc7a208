"""Waiting that draining ends: whatever a leader waits for, a graceful stop must not wait for it too."""

import asyncio
from collections.abc import Coroutine


async def done_before(draining: asyncio.Event, condition: Coroutine[None, None, None]) -> bool:
    """Wait for the condition, or until draining; False when draining came first, and the condition is cancelled.

    On return the condition has ended, cancelled or not. Raises what the condition raises.
    """
    waiting = asyncio.ensure_future(condition)
    drained = asyncio.ensure_future(draining.wait())
    try:
        await asyncio.wait({waiting, drained}, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            return False
        waiting.result()
        return True
    finally:
        drained.cancel()
        if not waiting.done():
            waiting.cancel()
            await asyncio.wait({waiting})  # what it holds is given back before the caller goes on
        if not waiting.cancelled():
            waiting.exception()  # seen, also where our own cancellation came in the turn in which it failed


async def drains_within(draining: asyncio.Event, pause_s: float) -> bool:
    """Wait for `pause_s`, or until draining; True when draining came."""
    try:
        async with asyncio.timeout(pause_s):
            await draining.wait()
    except TimeoutError:
        return False
    return True
