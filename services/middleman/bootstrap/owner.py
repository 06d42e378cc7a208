"""What the command line does on the database as its owner, beside API keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.parked import ParkedRow, list_parked
from middleman.adapters.postgres.parked import retry_parked as retry
from middleman.adapters.postgres.prune import prune_events
from middleman.adapters.postgres.withheld import WithheldRow, list_withheld, release_withheld


async def parked(database_url: str) -> Sequence[ParkedRow]:
    """Parked attempts, the oldest first."""
    async with as_owner(database_url) as engine:
        return await list_parked(engine)


async def retry_parked(database_url: str, attempts: Sequence[str] | None) -> int:
    """Let these parked attempts (None: all) be due for a try now; returns how many are."""
    async with as_owner(database_url) as engine:
        return await retry(engine, attempts)


async def withheld(database_url: str) -> Sequence[WithheldRow]:
    """Withheld subscriptions, the longest first."""
    async with as_owner(database_url) as engine:
        return await list_withheld(engine)


async def release(database_url: str, subscriptions: Sequence[str] | None) -> int:
    """Bill these withheld subscriptions (None: all) from now on; returns how many."""
    async with as_owner(database_url) as engine:
        return await release_withheld(engine, subscriptions)


async def prune(database_url: str, older_than: timedelta) -> int:
    """Delete older events; returns how many."""
    async with as_owner(database_url) as engine:
        return await prune_events(engine, older_than)


@asynccontextmanager
async def as_owner(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Sessions of the owner, closed at the end."""
    engine = owner_engine(database_url)
    try:
        yield engine
    finally:
        await engine.dispose()
