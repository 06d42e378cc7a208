"""Pruning, as the database's owner: only events, and none of the last 30 days. See migration 0012."""

from datetime import timedelta

from sqlalchemy import Interval, bindparam, text
from sqlalchemy.ext.asyncio import AsyncEngine

SHORTEST = timedelta(days=30)
_BATCH = 10_000
_PRUNE = text("SELECT prune_events(:older_than, :at_most)").bindparams(
    bindparam("older_than", type_=Interval)
)


async def prune_events(engine: AsyncEngine, older_than: timedelta, batch: int = _BATCH) -> int:
    """Delete older events, a batch in each transaction, and return how many there were. Raises `ValueError`."""
    if older_than < SHORTEST:
        raise ValueError(f"events of the last {SHORTEST.days} days are kept: give at least that many days")
    total = 0
    while True:
        async with engine.begin() as connection:
            pruned = await connection.scalar(_PRUNE, {"older_than": older_than, "at_most": batch})
        if not pruned:
            return total
        total += pruned
