"""The real store on a real database, held by a leader that a test plays step by step."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.office import PostgresOffice
from middleman.adapters.postgres.store import PostgresStore
from middleman.domain.attempts import Declined, DefiniteOutcome, Succeeded, settle
from middleman.domain.dunning import DunningPolicy
from middleman.domain.ids import ChargeId, PaymentIntentId
from middleman.ports.failpoints import NO_FAILPOINTS, Failpoints
from middleman.ports.store import Binding, Claim, OpenAttempt, SettledAttempt, UnknownAttempt
from middleman.ports.term import Term
from tests.support.database import Database

POLICY = DunningPolicy((timedelta(days=1), timedelta(days=3)))
DECLINED = Declined("card_declined", "insufficient_funds", charge_id=ChargeId("ch_no"))
STOLEN = Declined("card_declined", "stolen_card")


def intent_of(attempt: OpenAttempt) -> PaymentIntentId:
    """The payment intent that the processor would give this invoice."""
    return PaymentIntentId(f"pi_{attempt.invoice_id}")


@dataclass(frozen=True, slots=True)
class StoreRig:
    """A leader's term with its store; `owner` sees and may do everything."""

    database: Database
    pool: AsyncEngine
    term: Term
    store: PostgresStore
    owner: "asyncpg.Connection[asyncpg.Record]"

    async def claim(self, limit: int = 100, max_overdue: int = 1000) -> Claim:
        """One transaction that claims what is due."""
        async with self.store.fenced(self.term) as transaction:
            return await transaction.claim_due(limit, max_overdue)

    async def claim_retries(self, limit: int = 100) -> Claim:
        """One transaction that claims what dunning plans for now."""
        async with self.store.fenced(self.term) as transaction:
            return await transaction.claim_retries(limit)

    async def end_subscriptions(self, limit: int = 100) -> int:
        """One transaction that ends what has ended."""
        async with self.store.fenced(self.term) as transaction:
            return await transaction.end_subscriptions(limit)

    async def bind(self, *attempts: OpenAttempt, intent: str | None = None) -> list[PaymentIntentId]:
        """One transaction that binds each invoice's intent; returns what is recorded, in order."""
        bindings = [
            Binding(each.invoice_id, PaymentIntentId(intent) if intent else intent_of(each))
            for each in attempts
        ]
        async with self.store.fenced(self.term) as transaction:
            recorded = await transaction.bind(bindings)
        return [recorded[each.invoice_id] for each in attempts]

    async def mark_unknown(self, attempt: OpenAttempt, reason: str) -> None:
        """One transaction that notes an unknown outcome."""
        async with self.store.fenced(self.term) as transaction:
            await transaction.mark_unknown([UnknownAttempt(attempt.attempt_id, reason)])

    async def settle(self, *outcomes: tuple[OpenAttempt, DefiniteOutcome]) -> int:
        """One transaction that settles all of them under `POLICY`; returns how many were open."""
        async with self.store.fenced(self.term) as transaction:
            return await transaction.settle([settled(*each) for each in outcomes])

    async def pay(self, *attempts: OpenAttempt) -> None:
        """Bind and settle as succeeded."""
        await self.bind(*attempts)
        await self.settle(*((each, paid(each)) for each in attempts))

    async def open_attempts(
        self, after: OpenAttempt | None = None, limit: int = 100
    ) -> Sequence[OpenAttempt]:
        """One transaction that reads a page of what is open."""
        async with self.store.fenced(self.term) as transaction:
            return await transaction.open_attempts(None if after is None else after.attempt_id, limit)

    async def row(self, query: str, *parameters: object) -> "asyncpg.Record":
        """Exactly one row, as the owner."""
        rows = await self.owner.fetch(query, *parameters)
        assert len(rows) == 1, rows
        return rows[0]

    async def subscription(self, subscription_id: str) -> "asyncpg.Record":
        return await self.row("SELECT * FROM subscriptions WHERE id = $1", subscription_id)

    async def invoice(self, attempt: OpenAttempt) -> "asyncpg.Record":
        return await self.row("SELECT * FROM invoices WHERE id = $1", attempt.invoice_id)

    async def attempt(self, attempt: OpenAttempt) -> "asyncpg.Record":
        return await self.row("SELECT * FROM payment_attempts WHERE id = $1", attempt.attempt_id)

    async def advance(self, interval: timedelta) -> None:
        """Let business time pass."""
        await self.owner.execute("SELECT set_test_clock($1, 1)", interval)

    async def superseded(self) -> Term:
        """Another replica takes office; this rig's term is stale from now on. Returns the new term.

        It ends our sessions too; the pool forgets them, as it does after the first failure.
        """
        await self.pool.dispose()
        pool = self.database.replica_engine("successor#1", pool_size=1)
        try:
            return await PostgresOffice(pool, uuid4).take_office(0, "successor#1", 2)
        finally:
            await pool.dispose()

    async def until_blocked(self) -> None:
        """Wait until a session of this database waits for another's lock."""
        blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        async with asyncio.timeout(5):
            while not await self.owner.fetchval(blocked):  # noqa: ASYNC110  # the server sets no events of ours
                await asyncio.sleep(0.01)

    def behind(self, failpoints: Failpoints) -> "StoreRig":
        """The same with failpoints inside its transactions."""
        return replace(self, store=PostgresStore(self.pool, failpoints))


def paid(attempt: OpenAttempt) -> Succeeded:
    """The outcome of a charge that worked."""
    return Succeeded(ChargeId(f"ch_{attempt.attempt_id}"))


def settled(attempt: OpenAttempt, outcome: DefiniteOutcome) -> SettledAttempt:
    """What the pipeline would record under `POLICY`."""
    return SettledAttempt(
        attempt.attempt_id, outcome, settle(outcome, attempt_no=attempt.attempt_no, policy=POLICY)
    )


@asynccontextmanager
async def store_rig(database: Database, *, pool_size: int = 5) -> AsyncIterator[StoreRig]:
    """A leader that has just taken office."""
    pool = database.replica_engine("leader#1", pool_size)
    owner = await asyncpg.connect(database.dsn())
    try:
        term = await PostgresOffice(pool, uuid4).take_office(0, "leader#1", 1)
        yield StoreRig(database, pool, term, PostgresStore(pool, NO_FAILPOINTS), owner)
    finally:
        owner.terminate()
        await pool.dispose()
