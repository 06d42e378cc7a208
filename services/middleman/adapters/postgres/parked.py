"""Parked attempts as an operator sees them: how many there are, which, why, and a try at once on request."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.errors import translated

COUNTED_AT_MOST = 100_000
"""More are not counted: the measurement must not cost more than what it measures."""

_PARKED = text("""
SELECT count(*) AS parked, coalesce(EXTRACT(EPOCH FROM clock_timestamp() - min(created_at)), 0)::float8 AS oldest_s
FROM (SELECT created_at FROM payment_attempts
      WHERE scope = :scope AND parked_until IS NOT NULL ORDER BY parked_until LIMIT :limit) AS counted
""")


@dataclass(frozen=True, slots=True)
class Parked:
    """`count` stops at `COUNTED_AT_MOST`; `oldest_s` is the age of the oldest of them, in seconds of real time."""

    count: int
    oldest_s: float


@dataclass(frozen=True, slots=True)
class ParkedCount:
    """Counts one scope, apart from the pipeline."""

    engine: AsyncEngine
    scope: int

    async def measure(self) -> Parked:
        """Raises:
        StoreUnavailable: the database gave no answer.
        """
        with translated():
            async with self.engine.connect() as connection:
                row = (
                    await connection.execute(_PARKED, {"scope": self.scope, "limit": COUNTED_AT_MOST})
                ).one()
        return Parked(row.parked, max(0.0, row.oldest_s))


SHOWN_AT_MOST = 1000

_LIST = text("""
SELECT t.id, t.unknown_reason AS reason, t.created_at, t.parked_until, t.parked_count, i.payment_intent_id
FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
WHERE t.parked_until IS NOT NULL ORDER BY t.created_at, t.id LIMIT :limit
""")
_RETRY = text("SELECT retry_parked_attempts(CAST(:attempts AS text[]))")


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """One parked attempt. `payment_intent_id` is None where none is bound yet."""

    attempt_id: str
    reason: str
    created_at: datetime
    parked_until: datetime
    parked_count: int
    payment_intent_id: str | None


async def list_parked(engine: AsyncEngine) -> Sequence[ParkedRow]:
    """The oldest parked attempts, `SHOWN_AT_MOST` of them."""
    async with engine.connect() as connection:
        rows = await connection.execute(_LIST, {"limit": SHOWN_AT_MOST})
        return [
            ParkedRow(
                row.id,
                row.reason or "",
                row.created_at,
                row.parked_until,
                row.parked_count,
                row.payment_intent_id,
            )
            for row in rows
        ]


async def retry_parked(engine: AsyncEngine, attempts: Sequence[str] | None) -> int:
    """Let these parked attempts (None: all) be due for a try now; returns how many are. Needs the owner's URL."""
    async with engine.begin() as connection:
        given = None if attempts is None else list(attempts)
        return int((await connection.execute(_RETRY, {"attempts": given})).scalar_one())
