"""What the command line does on the database as its owner, beside API keys."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.parked import ParkedRow, list_parked
from middleman.adapters.postgres.parked import retry_parked as retry


async def parked(database_url: str) -> Sequence[ParkedRow]:
    """Parked attempts, the oldest first."""
    async with as_owner(database_url) as engine:
        return await list_parked(engine)


async def retry_parked(database_url: str, attempts: Sequence[str] | None) -> int:
    """Let these parked attempts (None: all) be due for a try now; returns how many are."""
    async with as_owner(database_url) as engine:
        return await retry(engine, attempts)


@asynccontextmanager
async def as_owner(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Sessions of the owner, closed at the end."""
    engine = owner_engine(database_url)
    try:
        yield engine
    finally:
        await engine.dispose()
