"""What is being carried, attempts and looks, so that nothing is carried twice and there is never too much."""

import asyncio

from middleman.domain.ids import AttemptId, NoticeId

WorkId = AttemptId | NoticeId
"""An attempt on its way to its outcome, or a look at an intent that a notice pointed to."""


class InFlight:
    """A bounded set of work. Single event loop; no locks needed."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._ids: set[WorkId] = set()
        self._deferred: set[WorkId] = set()
        self._ended = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def unanswered(self) -> int:
        """How many have got no definite answer yet and wait to ask again."""
        return len(self._deferred)

    @property
    def room(self) -> int:
        """How much more may be taken on."""
        return max(0, self._limit - len(self._ids))

    def ids(self) -> frozenset[WorkId]:
        """What is being carried now."""
        return frozenset(self._ids)

    def add(self, work_id: WorkId) -> bool:
        """Take it on; False when it is being carried already."""
        if work_id in self._ids:
            return False
        self._ids.add(work_id)
        return True

    def discard(self, work_id: WorkId) -> None:
        """It is done, or left to whoever recovers it."""
        self._ids.discard(work_id)
        self._deferred.discard(work_id)
        self._ended += 1
        self._changed.set()

    def defer(self, work_id: WorkId) -> None:
        """It got no definite answer and waits to ask again: nobody has to wait for it."""
        if work_id in self._ids:
            self._deferred.add(work_id)
            self._changed.set()

    async def until_room(self, wanted: int) -> None:
        """Wait until there is room for `wanted` attempts (or for as many as the limit allows)."""
        while self.room < min(wanted, self._limit):
            self._changed.clear()
            await self._changed.wait()

    async def until_only_deferred(self) -> None:
        """Wait until every attempt that is being carried has been answered, or deferred at least once."""
        while len(self._deferred) < len(self._ids):
            self._changed.clear()
            await self._changed.wait()

    async def until_first_end(self) -> None:
        """Wait until one more is settled, or there is none left to wait for."""
        ended = self._ended
        while self._ended == ended and len(self._deferred) < len(self._ids):
            self._changed.clear()
            await self._changed.wait()

    async def until_empty(self) -> None:
        """Wait until nothing is being carried."""
        while self._ids:
            self._changed.clear()
            await self._changed.wait()
