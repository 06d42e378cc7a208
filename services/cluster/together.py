"""Doing the same with several members at once."""

import asyncio
from collections.abc import Awaitable, Coroutine, Iterable


async def gather_all(actions: Iterable[Awaitable[object]]) -> None:
    """Runs all to their end, then raises the first failure: for stopping, where each must have its turn."""
    results = await asyncio.gather(*actions, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def start_all(starts: Iterable[Coroutine[None, None, object]]) -> None:
    """Runs all at once; the first failure cancels the rest and is raised, so that nobody waits in vain."""
    tasks = [asyncio.create_task(start) for start in starts]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
