"""A session for whoever looks often: to open one takes the machine ten times as long as to ask on it."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg

_ANSWER_TIMEOUT_S = 15.0
_BROKEN = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
)


class KeptSession:
    """One session, opened when it is needed and anew after it broke; one question at a time."""

    def __init__(self, connect: Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]) -> None:
        self._connect = connect
        self._lock = asyncio.Lock()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def fetch(self, query: str, *parameters: object) -> "list[asyncpg.Record]":
        """Rows of a query that changes nothing: it is asked once more where the session had broken since the last one.

        Raises what `connect` and asyncpg raise, and `TimeoutError` when no answer comes within 15 s.
        """
        async with self._lock:
            if self._connection is not None:
                try:
                    return await self._ask(self._connection, query, parameters)
                except TimeoutError:
                    raise  # it is there, and slow: nobody is helped by waiting once more
                except _BROKEN:
                    pass  # broke since the last question: asked again below
            self._connection = await self._connect()
            return await self._ask(self._connection, query, parameters)

    async def _ask(
        self, connection: "asyncpg.Connection[asyncpg.Record]", query: str, parameters: tuple[object, ...]
    ) -> "list[asyncpg.Record]":
        try:
            return list(await connection.fetch(query, *parameters, timeout=_ANSWER_TIMEOUT_S))
        except BaseException:
            self.close()  # also when cancelled: whatever it is in the middle of, the next question finds none of it
            raise

    def close(self) -> None:
        """Break the session off; the next question opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
