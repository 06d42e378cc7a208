"""Subscriptions that are due and withheld, as an operator sees them: how many, which, why, and their release."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.errors import translated

SHOWN_AT_MOST = 1000

_COUNT = text("""
SELECT (SELECT count(*) FROM subscriptions WHERE scope = :scope AND withheld = 'set_aside') AS set_aside,
       (SELECT count(*) FROM subscriptions WHERE scope = :scope AND withheld = 'held') AS held,
       (SELECT count(*) FROM invoices WHERE scope = :scope AND set_aside_reason IS NOT NULL) AS invoices
""")
_LIST = text("""
SELECT id, withheld, withheld_at, withheld_reason, next_due_at FROM subscriptions
WHERE withheld IS NOT NULL ORDER BY withheld_at, id LIMIT :limit
""")
_RELEASE = text("SELECT release_withheld(CAST(:subscriptions AS text[]))")


@dataclass(frozen=True, slots=True)
class Withheld:
    """How many subscriptions are set aside, how many are held, and of how many invoices a retry was refused."""

    set_aside: int
    held: int
    invoices: int


@dataclass(frozen=True, slots=True)
class WithheldCount:
    """Counts one scope, apart from the pipeline."""

    engine: AsyncEngine
    scope: int

    async def measure(self) -> Withheld:
        """Raises:
        StoreUnavailable: the database gave no answer.
        """
        with translated():
            async with self.engine.connect() as connection:
                row = (await connection.execute(_COUNT, {"scope": self.scope})).one()
        return Withheld(row.set_aside, row.held, row.invoices)


@dataclass(frozen=True, slots=True)
class WithheldRow:
    """One withheld subscription; `kind` is `set_aside` or `held`."""

    subscription_id: str
    kind: str
    since: datetime
    reason: str
    next_due_at: datetime


async def list_withheld(engine: AsyncEngine) -> Sequence[WithheldRow]:
    """The subscriptions that have been withheld for longest, `SHOWN_AT_MOST` of them."""
    async with engine.connect() as connection:
        rows = await connection.execute(_LIST, {"limit": SHOWN_AT_MOST})
        return [
            WithheldRow(row.id, row.withheld, row.withheld_at, row.withheld_reason, row.next_due_at)
            for row in rows
        ]


async def release_withheld(engine: AsyncEngine, subscriptions: Sequence[str] | None) -> int:
    """Bill these withheld subscriptions (None: all) from now on; returns how many. Needs the owner's URL."""
    async with engine.begin() as connection:
        given = None if subscriptions is None else list(subscriptions)
        return int((await connection.execute(_RELEASE, {"subscriptions": given})).scalar_one())
