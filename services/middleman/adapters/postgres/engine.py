"""Connections to Postgres: pools whose sessions say who they are."""

from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from middleman.adapters.postgres.address import address
from middleman.adapters.postgres.errors import says_server_is_gone

_CONNECT_TIMEOUT_S = 3.0
_COMMAND_TIMEOUT_S = 15.0
_OWNER_COMMAND_TIMEOUT_S = 600.0
_CLOSE_TIMEOUT_S = 0.25
_DIALECT = "postgresql+asyncpg://"  # all that SQLAlchemy has to know: sessions come from `address`


class Session(asyncpg.Connection):  # type: ignore[misc]  # asyncpg carries no types
    """A connection that takes its leave quickly, or without a word.

    SQLAlchemy gives a session whose statement was cancelled two seconds to close. A server that has vanished takes
    all of them, and a leader's pipeline that has to stop does not have them.
    """

    async def close(self, *, timeout: float | None = None) -> None:
        """Close, and break the connection off when that takes too long."""
        bound_s = _CLOSE_TIMEOUT_S if timeout is None else min(timeout, _CLOSE_TIMEOUT_S)
        with suppress(TimeoutError):  # then it has been broken off
            await super().close(timeout=bound_s)


def engine(url: str, *, application_name: str, pool_size: int) -> AsyncEngine:
    """A pool of at most `pool_size` sessions that carry `application_name` (63 bytes at most).

    The name is how a new leader finds and ends the sessions of the one before it.
    Raises `BadDatabaseUrl`.
    """
    if len(application_name.encode()) > 63:
        raise ValueError(f"application_name is longer than the 63 bytes Postgres keeps: {application_name!r}")
    pool = create_async_engine(
        _DIALECT,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_TIMEOUT_S,
        pool_pre_ping=False,  # a dead session shows in the statement itself, and every caller repeats
        async_creator=_creator(url, application_name, _COMMAND_TIMEOUT_S),
    )
    event.listen(pool.sync_engine, "handle_error", _drop_with_siblings)
    return pool


def owner_engine(url: str) -> AsyncEngine:
    """For migrations: one session at a time, no pool, patient with long statements."""
    creator = _creator(url, "middleman-migrate", _OWNER_COMMAND_TIMEOUT_S)
    return create_async_engine(_DIALECT, poolclass=NullPool, async_creator=creator)


def _creator(
    url: str, application_name: str, command_timeout_s: float
) -> Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]:
    """How a pool opens a session. Raises BadDatabaseUrl."""
    place = address(url)

    async def create() -> "asyncpg.Connection[asyncpg.Record]":
        return await place.connect(
            timeout_s=_CONNECT_TIMEOUT_S,
            # JIT compilation costs more than it saves on statements of a millisecond.
            server_settings={"application_name": application_name, "jit": "off"},
            command_timeout=command_timeout_s,
            connection_class=Session,
        )

    return create


def _drop_with_siblings(context: ExceptionContext) -> None:
    """Drop a session whose server is gone or takes no writes, and every session that was opened before now.

    The others lead to the same server. After a failover whose address moves late they would stay on the old primary,
    now a standby, until each of them had failed by itself. Siblings in use finish their statement first.

    A statement that was cancelled got no answer in the time that it had. Its siblings are dropped too: where the
    server's machine has vanished, each of them would wait as long. Dropping a healthy one costs a new connection.
    """
    failure = context.original_exception
    if says_server_is_gone(failure) or isinstance(failure, (TimeoutError, CancelledError)):
        context.is_disconnect = True
        context.invalidate_pool_on_disconnect = True
