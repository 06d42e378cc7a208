"""Both ledgers of a running cluster: what fell due and was paid here, what was charged there, what the judge says."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import asyncpg
import httpx

from chaos.judge.judging import Sources, judge
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster
from cluster.health import http_client

PATIENCE_S = 25.0
"""How long anything may take here: a takeover needs the lease's three seconds, everything else far less."""

SeenT = TypeVar("SeenT")

_SUBSCRIBE = """
    WITH plan AS (
        INSERT INTO plans (id, name, amount_minor, currency, interval_unit, interval_count)
        VALUES ('pl_' || $1, 'Fault', 999, 'EUR', 'month', 1) RETURNING id
    ), customer AS (
        INSERT INTO customers (id, email, processor_customer_id, payment_method_id)
        VALUES ('cu_' || $1, $1 || '@example.com', $3, $4) RETURNING id
    )
    INSERT INTO subscriptions (id, customer_id, plan_id, amount_minor, currency, interval_unit, interval_count,
                               anchor_local, time_zone, next_due_at)
    SELECT 'sub_' || $1 || 'x' || n, customer.id, plan.id, 999, 'EUR', 'month', 1, anchor, 'UTC', anchor AT TIME ZONE 'UTC'
    FROM plan, customer, generate_series(1, $2::int) n,
         LATERAL (SELECT date_trunc('second', (business_now() + make_interval(secs => $5::float8 + n * $6::float8))
                                              AT TIME ZONE 'UTC') AS anchor)
"""
_PROGRESS = """
    SELECT count(*) AS invoices, count(*) FILTER (WHERE i.status = 'paid') AS paid,
           count(i.payment_intent_id) AS bound, count(t.id) AS open
    FROM invoices i LEFT JOIN payment_attempts t ON t.invoice_id = i.id AND t.status = 'open'
    WHERE i.subscription_id LIKE 'sub\\_' || $1 || 'x%'
"""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the charges of one test are: invoices opened, intents bound, paid, attempts still open."""

    invoices: int
    paid: int
    bound: int
    open: int


@dataclass(slots=True)
class Witnesses:
    """Whoever can be asked about a cluster from outside: its database, its processor, the judge."""

    cluster: Cluster

    async def subscribe(self, count: int) -> str:
        """`count` monthly subscriptions of one customer, all due for an hour; returns the test's prefix."""
        return await self._subscribe(count, first_due_s=-3600, apart_s=0)

    async def subscribe_from_now_on(self, count: int, *, per_s: float) -> str:
        """`count` monthly subscriptions of one customer that fall due one after the other; returns the test's prefix."""
        return await self._subscribe(count, first_due_s=0, apart_s=1 / per_s)

    async def _subscribe(self, count: int, *, first_due_s: float, apart_s: float) -> str:
        prefix = secrets.token_hex(4)
        async with self.sandbox() as sandbox:
            customer = (await _post(sandbox, "/v1/customers", email=f"{prefix}@example.com"))["id"]
            card = await _post(sandbox, "/v1/payment_methods/pm_card_visa/attach", customer=customer)
        await self.execute(_SUBSCRIBE, prefix, count, customer, card["id"], first_due_s, apart_s)
        return prefix

    async def progress(self, prefix: str) -> Progress:
        """How far the test's charges are; raises while the database is away."""
        [row] = await self.fetch(_PROGRESS, prefix)
        return Progress(**row)

    async def until(self, prefix: str, reached: Callable[[Progress], bool]) -> Progress:
        """Poll until the charges are so far. A database that is away is asked again."""

        async def look() -> Progress | None:
            try:
                progress = await self.progress(prefix)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                return None
            return progress if reached(progress) else None

        return await until(look)

    async def until_paid(self, prefix: str, count: int) -> Progress:
        """Poll until that many invoices are paid."""
        return await self.until(prefix, lambda progress: progress.paid >= count)

    async def until_some_unknown(self, prefix: str, at_least: int = 1) -> None:
        """Wait until that many of the test's attempts have been noted as unknown."""
        query = "SELECT count(*) AS n FROM payment_attempts WHERE unknown_at IS NOT NULL AND id LIKE 'at\\_' || $1 || 'x%'"

        async def look() -> bool | None:
            [row] = await self.fetch(query, prefix)
            return row["n"] >= at_least or None

        await until(look)

    async def assert_charged_once(self, prefix: str, count: int) -> None:
        """One paid invoice per due period here, one succeeded intent and no other there."""
        assert await self.until_paid(prefix, count) == Progress(count, count, count, 0)
        periods = [
            row for row in await self.ledger_periods() if row["subscription_id"].startswith(f"sub_{prefix}x")
        ]
        assert len(periods) == count
        for period in periods:
            assert (period["intents"], period["succeeded"], period["amount_succeeded"]) == (1, 1, 999), period

    async def ledger_periods(self) -> list[dict[str, Any]]:
        """The processor's own count per (subscription, period)."""
        rows: list[dict[str, Any]] = []
        async with self.sandbox(admin=True) as sandbox:
            has_more = True
            while has_more:
                query: dict[str, str | int] = {
                    "by": "subscription_id,period_no",
                    "limit": 10_000,
                    "after": len(rows),
                }
                page = (await sandbox.get("/admin/ledger/periods", params=query)).raise_for_status().json()
                rows += page["data"]
                has_more = page["has_more"]
        return rows

    async def verdict(self, *, at_rest: bool = True) -> Verdict:
        """What the judge says; `at_rest`: nothing may be in flight."""
        sandbox = self.cluster.sandbox
        sources = Sources(self.cluster.judge_database_url, sandbox.url, sandbox.admin_key)
        return await judge(sources, require_rest=at_rest)

    async def assert_verdict_holds(self) -> None:
        """All invariants, over everything since the books were empty."""
        assert broken(await self.verdict()) == {}

    async def fetch(self, query: str, *parameters: object) -> list["asyncpg.Record"]:
        """Rows, as the superuser."""
        return await self.cluster.postgres.fetch(query, *parameters)

    async def execute(self, statement: str, *parameters: object) -> None:
        """A statement, as the superuser."""
        connection = await self.cluster.postgres.connect()
        try:
            await connection.execute(statement, *parameters)
        finally:
            connection.terminate()

    @asynccontextmanager
    async def sandbox(self, *, admin: bool = False) -> AsyncIterator[httpx.AsyncClient]:
        server = self.cluster.sandbox
        headers = {"Authorization": f"Bearer {server.admin_key if admin else server.api_key}"}
        async with http_client(10.0, base_url=server.url, headers=headers) as client:
            yield client


def broken(verdict: Verdict) -> dict[str, list[str]]:
    """Which invariants do not hold, and the first things that are wrong."""
    return {
        result.name: [f"{finding.subject}: {finding.detail}" for finding in result.violations[:3]]
        for result in verdict.invariants
        if not result.holds
    }


async def until(look: Callable[[], Awaitable[SeenT | None]], patience_s: float = PATIENCE_S) -> SeenT:
    """Poll other processes until there is something to see; raises `TimeoutError`."""
    async with asyncio.timeout(patience_s):
        while True:
            if (seen := await look()) is not None:
                return seen
            await asyncio.sleep(0.02)


async def _post(client: httpx.AsyncClient, path: str, **data: str) -> dict[str, Any]:
    answer = await client.post(path, data=data)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body
