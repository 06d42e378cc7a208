"""Connections to Postgres: pools whose sessions say who they are."""

from contextlib import suppress
from typing import Any

import asyncpg
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

_CONNECT_TIMEOUT_S = 3.0
_COMMAND_TIMEOUT_S = 15.0
_CLOSE_TIMEOUT_S = 0.25
_ACCEPTED_SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")


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


class BadDatabaseUrl(ValueError):
    """The database URL cannot be used; the message says why without showing its password."""


def database_url(url: str) -> URL:
    """`postgresql://user:password@host:port/database`, in the form that the driver wants.

    Raises:
        BadDatabaseUrl: it is not such a URL.
    """
    try:
        parsed = make_url(url)
    except Exception as error:
        raise BadDatabaseUrl(
            "not a database URL; write postgresql://user:password@host:port/database"
        ) from error
    if parsed.drivername not in _ACCEPTED_SCHEMES:
        raise BadDatabaseUrl(f"scheme {parsed.drivername!r} is not PostgreSQL; write postgresql://…")
    if not parsed.database or not parsed.username:
        raise BadDatabaseUrl(
            "user or database name is missing; write postgresql://user:password@host:port/database"
        )
    return parsed.set(drivername="postgresql+asyncpg")


def engine(url: str, *, application_name: str, pool_size: int) -> AsyncEngine:
    """A pool of at most `pool_size` sessions that carry `application_name` (63 bytes at most).

    The name is how a new leader finds and ends the sessions of the one before it.
    """
    if len(application_name.encode()) > 63:
        raise ValueError(f"application_name is longer than the 63 bytes Postgres keeps: {application_name!r}")
    return create_async_engine(
        database_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=_CONNECT_TIMEOUT_S,
        pool_pre_ping=False,  # a dead session shows in the statement itself, and every caller repeats
        connect_args=_connect_args(application_name),
    )


def owner_engine(url: str) -> AsyncEngine:
    """For migrations: one session at a time, no pool, patient with long statements."""
    arguments = _connect_args("middleman-migrate") | {"command_timeout": 600.0}
    return create_async_engine(database_url(url), poolclass=NullPool, connect_args=arguments)


def _connect_args(application_name: str) -> dict[str, Any]:
    return {
        "timeout": _CONNECT_TIMEOUT_S,
        "command_timeout": _COMMAND_TIMEOUT_S,
        "connection_class": Session,
        # JIT compilation costs more than it saves on statements of a millisecond.
        "server_settings": {"application_name": application_name, "jit": "off"},
    }
