"""Running work beside other work."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the body; should it fail, the body is cancelled and its failure raised."""
    body = asyncio.current_task()
    assert body is not None  # we run inside a task
    task = asyncio.create_task(work)
    in_body = True

    def end_body(ended: "asyncio.Task[None]") -> None:
        # A callback that the loop has already scheduled runs even after its removal, so it asks as well.
        if in_body and _failure_of(ended) is not None:
            body.cancel()

    task.add_done_callback(end_body)
    try:
        try:
            yield
        finally:
            in_body = False
        if (failure := _failure_of(task)) is not None:
            raise failure  # in the turn in which the body ended
    except asyncio.CancelledError:
        if (failure := _failure_of(task)) is not None:
            body.uncancel()
            raise failure from None
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _failure_of(task: "asyncio.Task[None]") -> BaseException | None:
    return task.exception() if task.done() and not task.cancelled() else None
