"""Gather single items into batches: one database transaction for hundreds of outcomes."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Failed:
    """The result of an item that could not be flushed, while the others of its batch were."""

    error: Exception


class Batcher(Generic[Item, Result]):
    """Hands items to `flush`, at most `limit` at a time, with pauses of at least `linger_s` between flushes.

    After a quiet time the first item goes at once: a new leader's first charge waits for no company. Under
    load flushes linger, and what arrives meanwhile makes up the next batch. One flush runs at a time. The queue is
    bounded by its callers, who each wait for their own result.
    """

    def __init__(
        self,
        flush: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Failed]]],
        *,
        limit: int,
        linger_s: float,
    ) -> None:
        """`flush` returns one result per item, in order; a `Failed` is raised to the item's caller alone."""
        self._flush = flush
        self._limit = limit
        self._linger_s = linger_s
        self._waiting: list[tuple[Item, asyncio.Future[Result]]] = []
        self._arrived = asyncio.Event()
        self._full = asyncio.Event()
        self._next_flush_s = -math.inf  # on the loop's clock
        self._hurried = False

    async def submit(self, item: Item) -> Result:
        """Wait until the batch that carries `item` is flushed; returns its result."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._arrived.set()
        if len(self._waiting) >= self._limit:
            self._full.set()
        return await future

    def hurry(self) -> None:
        """From now on no flush lingers: somebody waits for the last of them."""
        self._hurried = True
        self._full.set()

    async def run(self) -> None:
        """Flush until cancelled. What `flush` raises ends this, and with it the term that runs it."""
        while True:
            await self._arrived.wait()
            await self._linger()
            batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            if not self._waiting:
                self._arrived.clear()
            self._full.clear()
            results = await self._flush([item for item, _ in batch])
            self._next_flush_s = asyncio.get_running_loop().time() + self._linger_s
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue  # its waiter was cancelled
                if isinstance(result, Failed):
                    future.set_exception(result.error)
                else:
                    future.set_result(result)

    async def _linger(self) -> None:
        loop = asyncio.get_running_loop()
        if self._hurried or len(self._waiting) >= self._limit or loop.time() >= self._next_flush_s:
            return
        try:
            async with asyncio.timeout_at(self._next_flush_s):
                await self._full.wait()
        except TimeoutError:
            return
