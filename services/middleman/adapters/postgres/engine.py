"""Connections to Postgres: pools whose sessions say who they are."""

import socket
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from middleman.adapters.postgres.address import address
from middleman.adapters.postgres.errors import says_server_is_gone

_CONNECT_TIMEOUT_S = 3.0
_COMMAND_TIMEOUT_S = 15.0
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
        async_creator=_creator(url, application_name),
    )
    event.listen(pool.sync_engine, "handle_error", _drop_with_siblings)
    return pool


class OwnerSession(Session):
    """The owner's: no statement has a bound in time, and `rewrite` changes the SQL of migrations before it is sent."""

    rewrite: Callable[[str], str] | None = None

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str:
        """As asyncpg's."""
        result: str = await super().execute(self._own(query), *args, timeout=timeout)
        return result

    async def prepare(self, query: str, **more: Any) -> Any:
        """As asyncpg's; SQLAlchemy prepares what it runs."""
        return await super().prepare(self._own(query), **more)

    def _own(self, query: str) -> str:
        return query if self.rewrite is None else self.rewrite(query)


def owner_engine(url: str) -> AsyncEngine:
    """For migrations and other work of the owner: no pool, one session at a time.

    An index on a large table takes as long as it takes. A server that has vanished meanwhile is noticed by the kernel.
    Raises `BadDatabaseUrl`.
    """
    place = address(url)

    async def create() -> "asyncpg.Connection[asyncpg.Record]":
        session = await place.connect(
            timeout_s=_CONNECT_TIMEOUT_S,
            server_settings={"application_name": "middleman-migrate"},
            connection_class=OwnerSession,
        )
        _keep_alive(session)
        return session

    return create_async_engine(_DIALECT, poolclass=NullPool, async_creator=create)


def _keep_alive(session: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Have the kernel ask every ten seconds whether the server's machine is there, and give up after a minute."""
    transport = session._transport  # asyncpg shows its socket nowhere else
    connected = transport.get_extra_info("socket")
    if connected is not None and connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5)


def _creator(
    url: str, application_name: str
) -> Callable[[], Awaitable["asyncpg.Connection[asyncpg.Record]"]]:
    """How a pool opens a session. Raises BadDatabaseUrl."""
    place = address(url)

    async def create() -> "asyncpg.Connection[asyncpg.Record]":
        return await place.connect(
            timeout_s=_CONNECT_TIMEOUT_S,
            # Nothing but the name: pgbouncer refuses startup parameters that it does not know.
            server_settings={"application_name": application_name},
            command_timeout=_COMMAND_TIMEOUT_S,
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
