"""How far behind charging is: the age of the oldest debt that is due and that nobody has claimed yet."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.errors import translated
from middleman.adapters.postgres.pipeline_sql import CLAIMABLE

# What is oldest of both kinds: the head of one index range each. The conditions are those of CLAIM_DUE and
# CLAIM_RETRIES, without the watermark, which makes no debt less late. What is withheld has metrics of its own.
_LAGS = text(f"""
SELECT EXTRACT(EPOCH FROM business_now() - (
           SELECT s.next_due_at FROM subscriptions s
           WHERE {CLAIMABLE} ORDER BY s.next_due_at LIMIT 1))::float8 AS due,
       EXTRACT(EPOCH FROM business_now() - (
           SELECT next_attempt_at FROM invoices
           WHERE scope = :scope AND status = 'open' AND next_attempt_at IS NOT NULL
             AND next_attempt_at <= business_now()
           ORDER BY next_attempt_at LIMIT 1))::float8 AS retry
""")  # noqa: S608  # the condition is a constant of pipeline_sql


@dataclass(frozen=True, slots=True)
class DueLag:
    """Looks at one scope, apart from claiming: what keeps a leader from claiming must not hide how late it is."""

    engine: AsyncEngine
    scope: int

    async def measure(self) -> Mapping[str, float]:
        """Seconds of business time by kind, `due` and `retry`; 0 where nothing is due.

        Raises:
            StoreUnavailable: the database gave no answer.
        """
        with translated():
            async with self.engine.connect() as connection:
                row = (await connection.execute(_LAGS, {"scope": self.scope})).one()
        return {"due": max(0.0, row.due or 0.0), "retry": max(0.0, row.retry or 0.0)}
