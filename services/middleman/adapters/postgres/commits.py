"""Transactions whose return may be acknowledged: on disk here, and on every standby that the server waits for.

Two things that PostgreSQL does would make an acknowledgement out of a read:

* A commit whose wait for a standby is cut short (a cancel, a terminated session, a client that gave up) stays committed
  on this server, and everybody sees it from then on. A repeat finds it there. A transaction that wrote nothing ends
  without waiting, however young the rows are that it has read.
* Where the wait is cancelled, COMMIT still reports success, with a warning
  (https://www.postgresql.org/docs/current/warm-standby.html#SYNCHRONOUS-REPLICATION-HA).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncTransaction

from middleman.adapters.postgres.errors import translated
from middleman.ports.store import StoreUnavailable

T = TypeVar("T")

# Guarantees: the commit of this transaction comes back only after the standbys have all that it has read. The record
# stands behind the commits of everything visible, and a commit that wrote a record waits until the standbys have it.
# A transaction that has an id has written something already (a row lock is written too).
_WAIT_FOR_WHAT_WAS_READ = text("""
    SELECT pg_logical_emit_message(true, 'middleman', 'acknowledged')
    WHERE pg_current_xact_id_if_assigned() IS NULL
""")


async def transact(
    engine: AsyncEngine, timeout_s: float, work: Callable[[AsyncConnection], Awaitable[T]]
) -> T:
    """Run `work` in one transaction of at most `timeout_s`, the wait for a session included.

    `work` may run twice: where the session turns out to be dead before anything could commit. Raises StoreUnavailable,
    also for a commit of which it is not known that the standbys have it.
    """
    with translated():
        async with asyncio.timeout(timeout_s):
            try:
                return await _once(engine, work)
            except _DeadBeforeCommit:
                # The database restarted since this session was last used. Nothing was committed, and the
                # pool has dropped its other dead sessions as well: once more, on a new one.
                return await _once(engine, work, last=True)


@asynccontextmanager
async def begin(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction that commits at the end of the block, and rolls back where that raises.

    Raises StoreUnavailable for a commit of which it is not known that the standbys have it, and what the driver raises.
    """
    async with engine.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await _commit(connection, transaction)


async def wait_for_what_was_read(connection: AsyncConnection) -> None:
    """Make the commit wait for the standbys although nothing was written: what was read is going to be acknowledged."""
    await connection.execute(_WAIT_FOR_WHAT_WAS_READ)


class _DeadBeforeCommit(StoreUnavailable):
    """The session died before anything could be committed on it."""


async def _once(
    engine: AsyncEngine, work: Callable[[AsyncConnection], Awaitable[T]], *, last: bool = False
) -> T:
    async with engine.connect() as connection:
        transaction = await connection.begin()
        try:
            result = await work(connection)
        except DBAPIError as error:
            if error.connection_invalidated and not last:
                raise _DeadBeforeCommit from error
            raise
        await _commit(connection, transaction)
        return result


async def _commit(connection: AsyncConnection, transaction: AsyncTransaction) -> None:
    """Commit. A warning means that the wait for the standbys was cut short, and counts as no answer."""
    warnings: list[str] = []

    def note(_: object, message: Any) -> None:
        if message.severity_en == "WARNING":
            warnings.append(str(message))

    driver: Any = (await connection.get_raw_connection()).driver_connection
    driver.add_log_listener(note)
    try:
        await transaction.commit()
    finally:
        driver.remove_log_listener(note)
    if warnings:
        raise StoreUnavailable(f"the commit is not known to be on a standby: {warnings[0]}")
