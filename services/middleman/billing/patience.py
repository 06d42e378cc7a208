"""How long a leader goes on without a database before it lets another replica try."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from middleman.ports.clock import Clock
from middleman.ports.store import FencedTransaction, Store, StoreUnavailable
from middleman.ports.term import Term

LAST_TRY_S = 0.5
"""The least time that a try gets. The limit may be exceeded by so much."""


class Patience:
    """Shared by all who write in one term: one transaction that commits makes it whole again.

    A leader that alone is cut off from the database would otherwise keep its lease and bill nothing for
    ever. When the database is away for everybody, giving up costs a change of leader and nothing else.

    It counts from the beginning of the first transaction in vain, not from its failure: a frozen server
    refuses nothing, and whoever waits for its answer has waited all that time.
    """

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._tried_since_s: float | None = None
        self._answered_at_s = float("-inf")

    @asynccontextmanager
    async def transaction(self, store: Store, term: Term) -> AsyncIterator[FencedTransaction]:
        """`Store.fenced`, for as long as patience lasts and no longer.

        Raises what that raises, and `StoreUnavailable` when the time is up: it may have committed all the same.
        """
        began_s = self._clock.boottime_s()
        waited_since_s = began_s if self._tried_since_s is None else self._tried_since_s
        # A writer that paused until after the limit gets one last, short try: the database may be back.
        left_s = max(waited_since_s + self._limit_s - began_s, LAST_TRY_S)
        try:
            try:
                async with (
                    asyncio.timeout(left_s),
                    store.fenced(term) as transaction,
                ):
                    yield transaction
            except TimeoutError:
                raise StoreUnavailable(f"no answer within {left_s:.1f} s") from None
            self.answered()
        except StoreUnavailable:
            if self._tried_since_s is None:  # another transaction may have been answered meanwhile
                self._tried_since_s = max(began_s, self._answered_at_s)
            raise

    def answered(self) -> None:
        """A transaction got its answer."""
        self._tried_since_s = None
        self._answered_at_s = self._clock.boottime_s()

    def unanswered(self, error: StoreUnavailable) -> None:
        """A transaction got none; raises `error` once that has gone on for longer than the limit."""
        now_s = self._clock.boottime_s()
        if self._tried_since_s is None:
            self._tried_since_s = now_s
        elif now_s - self._tried_since_s >= self._limit_s:
            raise error
