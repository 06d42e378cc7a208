"""Tell the REST API's readers which replicas there are. For display only: nothing is decided by it."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.errors import translated

_BEAT = text("""
INSERT INTO replicas AS r (name, incarnation, role, ops_url, started_at)
VALUES (:name, :incarnation, :role, :ops_url, now())
ON CONFLICT (name) DO UPDATE
SET role = excluded.role, ops_url = excluded.ops_url, last_seen_at = clock_timestamp(),
    started_at = CASE WHEN r.incarnation = excluded.incarnation THEN r.started_at ELSE excluded.started_at END,
    incarnation = excluded.incarnation
""")


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One replica's row in `replicas`."""

    engine: AsyncEngine
    name: str
    incarnation: str
    ops_url: str

    async def beat(self, role: str) -> None:
        """Write the row.

        Raises:
            StoreUnavailable: the database gave no answer.
        """
        row = {"name": self.name, "incarnation": self.incarnation, "role": role, "ops_url": self.ops_url}
        with translated():
            async with self.engine.begin() as connection:
                await connection.execute(_BEAT, row)


async def warm_pool(engine: AsyncEngine, sessions: int) -> None:
    """Open `sessions` sessions, so that a new leader does not wait for any.

    Raises:
        StoreUnavailable: the database gave no answer.
    """
    with translated():
        async with AsyncExitStack() as opened:  # all at once, or the pool would hand out the same one again
            for _ in range(sessions):
                connection = await opened.enter_async_context(engine.connect())
                await connection.execute(text("SELECT 1"))
                # Who waits inside a transaction for the others to open is thrown out.
                await connection.rollback()
