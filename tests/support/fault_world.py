"""A whole cluster that is hurt on purpose: replicas as processes, started with whatever failpoints a test wants.

A test says who plays (`team`), lets subscriptions fall due (`subscribe`), hurts somebody, waits for events that it
sees in SQL, in logs and at operations endpoints, and asks both ledgers what was charged in the end.
"""

import asyncio
import json
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx

from chaos.judge.judging import Sources, judge
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster
from cluster.process import ManagedProcess
from cluster.spec import ClusterSpec

LEASE_TTL_S = 3
"""The shortest that the timing rules allow."""
PATIENCE_S = 25.0
"""How long anything may take here: a takeover needs the lease's three seconds, everything else far less."""

SeenT = TypeVar("SeenT")
Env = Mapping[str, str]
SAFE: Env = {}

_WIPE = """
    SET session_replication_role = replica;
    TRUNCATE invoices, payment_attempts, subscriptions, customers, plans, terms, fence, replicas, events
        RESTART IDENTITY CASCADE;
    RESET session_replication_role;
    UPDATE test_clock SET base_real = '2000-01-01Z', base_virtual = '2000-01-01Z', rate = 1;
"""
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
         LATERAL (SELECT date_trunc('second', (business_now() - interval '1 hour') AT TIME ZONE 'UTC') AS anchor)
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


@dataclass(frozen=True, slots=True)
class Leader:
    """Who holds the fence."""

    name: str
    term: int


@dataclass(slots=True)
class FaultWorld:
    """The cluster and its witnesses. `spoiled` asks for empty books before the next test."""

    cluster: Cluster
    env: dict[str, Env]
    spoiled: bool = False
    _launched: dict[str, Env] = field(default_factory=dict)
    _log_start: dict[str, int] = field(default_factory=dict)

    # Who plays.

    async def team(self, **envs: Env) -> None:
        """Exactly these replicas run and are ready, each with its environment; `replica_1=SAFE`."""
        wanted = {name.replace("_", "-"): dict(env) for name, env in envs.items()}
        idle = [each for each in self.cluster.replicas if each.name not in wanted and each.is_running]
        await asyncio.gather(*(each.kill() for each in idle))
        await asyncio.gather(*(self._play(self.cluster.member(name), env) for name, env in wanted.items()))

    async def team_beside(self, name: str, **envs: Env) -> None:
        """These replicas run and are ready, beside one that nobody may wait for."""
        others = {each.replace("_", "-"): dict(env) for each, env in envs.items()}
        assert name not in others
        await asyncio.gather(*(self._play(self.cluster.member(each), env) for each, env in others.items()))

    async def launch(self, name: str, env: Env) -> ManagedProcess:
        """Start one replica anew and do not wait: it may be meant to die before it is ready."""
        member = self.cluster.member(name)
        await member.kill()
        self.env[name] = self._launched[name] = dict(env)
        self._log_start[name] = member.log_path.stat().st_size if member.log_path.exists() else 0
        await member.launch()
        return member

    async def _play(self, member: ManagedProcess, env: Env) -> None:
        if member.is_paused:
            member.resume()
        if not member.is_running or self._launched.get(member.name, SAFE) != env:
            await self.launch(member.name, env)
        await member.wait_ready()

    # What falls due, and what became of it.

    async def subscribe(self, count: int) -> str:
        """`count` monthly subscriptions of one customer, all due for an hour; returns the test's prefix."""
        prefix = secrets.token_hex(4)
        async with self._sandbox() as sandbox:
            customer = (await _post(sandbox, "/v1/customers", email=f"{prefix}@example.com"))["id"]
            card = await _post(sandbox, "/v1/payment_methods/pm_card_visa/attach", customer=customer)
        await self.execute(_SUBSCRIBE, prefix, count, customer, card["id"])
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
        async with self._sandbox(admin=True) as sandbox:
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

    # What hurts.

    async def fault(
        self, action: Mapping[str, Any], *, operation: str = "*", times: int | None = None
    ) -> None:
        """A fault rule at the sandbox, until `calm`."""
        rule: dict[str, Any] = {"match": {"operation": operation}, "action": dict(action)}
        async with self._sandbox(admin=True) as sandbox:
            answer = await sandbox.post("/admin/faults", json=rule | ({"times": times} if times else {}))
            answer.raise_for_status()

    async def slow_processor(self, latency_ms: int) -> None:
        """Every call takes so long: a batch lasts, and can be hit in its middle."""
        await self.fault({"type": "latency", "latency_ms": latency_ms}, operation="payment_intents.create")
        await self.fault({"type": "latency", "latency_ms": latency_ms}, operation="payment_intents.confirm")

    async def calm(self) -> None:
        """No fault at the sandbox any more, everybody else healthy."""
        for member in (self.cluster.postgres, self.cluster.sandbox):
            if member.is_paused:
                member.resume()
            await member.start()
        await self.cluster.etcd.heal()  # all at once: none is healthy without a majority
        async with self._sandbox(admin=True) as sandbox:
            (await sandbox.delete("/admin/faults")).raise_for_status()

    async def wipe(self) -> None:
        """Empty books on both sides; no replica runs afterwards."""
        await asyncio.gather(*(each.kill() for each in self.cluster.replicas))
        await self.cluster.sandbox.kill()
        shutil.rmtree(self.cluster.spec.data_dir / "sandbox" / "data")
        await self.cluster.sandbox.start()
        await self.execute(_WIPE)
        self.spoiled = False

    # What can be seen.

    async def fetch(self, query: str, *parameters: object) -> list["asyncpg.Record"]:
        """Rows, as the superuser."""
        connection = await self.cluster.postgres.connect()
        try:
            return list(await connection.fetch(query, *parameters))
        finally:
            connection.terminate()

    async def execute(self, statement: str, *parameters: object) -> None:
        """A statement, as the superuser."""
        connection = await self.cluster.postgres.connect()
        try:
            await connection.execute(statement, *parameters)
        finally:
            connection.terminate()

    async def leader(self, *, after_term: int = 0) -> Leader:
        """Wait for a leader that runs, with a term above `after_term`."""

        async def look() -> Leader | None:
            rows = await self.fetch("SELECT holder, term FROM fence WHERE term > $1", after_term)
            for row in rows:
                found = Leader(row["holder"].partition("#")[0], row["term"])
                if await self._leads(found):
                    return found
            return None

        return await until(look)

    async def _leads(self, leader: Leader) -> bool:
        member = self.cluster.member(leader.name)
        if not member.is_running or member.is_paused:
            return False
        try:
            async with httpx.AsyncClient(timeout=1) as client:
                told = (await client.get(f"{member.url}/leader")).json()
        except httpx.HTTPError:
            return False
        return bool(told["term"] == leader.term)

    def log(self, name: str, event: str | None = None) -> list[dict[str, Any]]:
        """What a replica has logged since its last launch, all or one kind of event."""
        member = self.cluster.member(name)
        text = member.log_path.read_bytes()[self._log_start.get(name, 0) :].decode(errors="replace")
        entries = [
            json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")
        ]
        return [entry for entry in entries if event in (None, entry["event"])]

    async def until_logged(self, name: str, event: str, **fields: object) -> dict[str, Any]:
        """Wait until a replica logs an event with these fields."""

        async def look() -> dict[str, Any] | None:
            found = [entry for entry in self.log(name, event) if fields.items() <= entry.items()]
            return found[0] if found else None

        return await until(look)

    async def until_frozen(self, name: str) -> None:
        """Wait until a replica has stopped itself (SIGSTOP)."""

        state = Path(f"/proc/{self.cluster.member(name).pid}/stat")

        async def look() -> bool | None:
            # proc(5): the state is the first field after the name in brackets.
            return state.read_text().rpartition(")")[2].split()[0] == "T" or None  # noqa: ASYNC240  # not on a disk

        await until(look)

    @asynccontextmanager
    async def _sandbox(self, *, admin: bool = False) -> AsyncIterator[httpx.AsyncClient]:
        server = self.cluster.sandbox
        headers = {"Authorization": f"Bearer {server.admin_key if admin else server.api_key}"}
        async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=10) as client:
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


@asynccontextmanager
async def fault_world(root: Path) -> AsyncIterator[FaultWorld]:
    """A cluster with three replicas; started once and shared, so a test leaves nothing frozen or broken."""
    env: dict[str, Env] = {}  # read anew at every launch
    spec = ClusterSpec(data_dir=root / "faults", apis=0, lease_ttl_s=LEASE_TTL_S, extra_env=env)
    async with Cluster(spec) as cluster:
        yield FaultWorld(cluster, env)


def elapsed_s(since_s: float) -> float:
    """Seconds on the monotonic clock."""
    return time.monotonic() - since_s


async def _post(client: httpx.AsyncClient, path: str, **data: str) -> dict[str, Any]:
    answer = await client.post(path, data=data)
    answer.raise_for_status()
    body: dict[str, Any] = answer.json()
    return body
