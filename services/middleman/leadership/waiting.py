"""Small waits that asyncio lacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Interrupted(Exception):
    """The event that a block was to be left on has been set."""


@asynccontextmanager
async def interrupted_by(event: asyncio.Event) -> AsyncIterator[None]:
    """Leave the block with `Interrupted` as soon as ``event`` is set, wherever it waits.

    Built on `asyncio.timeout`, which tells its own cancellation from one that comes from outside.
    """
    loop = asyncio.get_running_loop()
    watcher = asyncio.create_task(event.wait(), name="interrupted-by")
    in_block = True
    try:
        async with asyncio.timeout(None) as scope:

            def leave(done: asyncio.Task[bool]) -> None:
                # A callback that the loop has already scheduled runs even after its removal, so it asks as well.
                if in_block and not done.cancelled() and not scope.expired():
                    scope.reschedule(loop.time())

            watcher.add_done_callback(leave)
            try:
                yield
            finally:
                in_block = False
                watcher.remove_done_callback(leave)
    except TimeoutError:
        if scope.expired():
            raise Interrupted from None
        raise
    finally:
        watcher.cancel()
