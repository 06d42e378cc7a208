"""Tell the REST API's readers which replicas there are. For display only: nothing is decided by it."""

from contextlib import AsyncExitStack
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.errors import translated

FORGOTTEN_AFTER_S = 86400.0
"""A replica that has been silent for so long is shown no more, and a new one may have its row."""

# Containers get a new name at each start. So a name without a row takes over the row that has been silent longest, if
# that is forgotten: there are never more rows than names within a day. Two newcomers lock different rows.
_BEAT = text("""
WITH taken_over AS (
    UPDATE replicas
    SET name = :name, incarnation = :incarnation, role = :role, ops_url = :ops_url,
        started_at = now(), last_seen_at = clock_timestamp()
    WHERE NOT EXISTS (SELECT FROM replicas WHERE name = :name)
      AND name = (SELECT name FROM replicas
                  WHERE last_seen_at < clock_timestamp() - make_interval(secs => :forgotten_after_s)
                  ORDER BY last_seen_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING 1
)
INSERT INTO replicas AS r (name, incarnation, role, ops_url, started_at)
SELECT CAST(:name AS text), CAST(:incarnation AS text), CAST(:role AS text), CAST(:ops_url AS text), now()
WHERE NOT EXISTS (SELECT FROM taken_over)
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
        row = {
            "name": self.name,
            "incarnation": self.incarnation,
            "role": role,
            "ops_url": self.ops_url,
            "forgotten_after_s": FORGOTTEN_AFTER_S,
        }
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
