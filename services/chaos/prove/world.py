"""A cluster to be wronged: replicas with other settings, subscriptions that are due, a processor that loses answers."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import httpx

from chaos.drive.log_reader import LogReader
from chaos.judge.judging import Sources, judge
from chaos.judge.promptness import Promptness
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster
from cluster.process import ManagedProcess
from cluster.together import gather_all

if TYPE_CHECKING:
    from chaos.drive.local import Settings

PATIENCE_S = 40.0
"""How long anything may take here: a take-over needs the lease's three seconds, everything else far less."""
POLL_S = 0.02
HTTP_TIMEOUT_S = 10.0

Env = Mapping[str, str]
SAFE: Env = {}
SeenT = TypeVar("SeenT")

_WIPE = """
    SET session_replication_role = replica;
    TRUNCATE ledger_entries, payment_attempts, invoices, subscriptions, customers, plans, terms, fence, replicas, events
        RESTART IDENTITY CASCADE;
    RESET session_replication_role;
    UPDATE test_clock SET base_real = '2000-01-01Z', base_virtual = '2000-01-01Z', rate = 1;
"""
_SUBSCRIBE = """
    WITH plan AS (
        INSERT INTO plans (id, name, amount_minor, currency, interval_unit, interval_count)
        VALUES ('pl_' || $1, 'Control', 999, 'EUR', 'month', 1) RETURNING id
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
    SELECT count(*) AS invoices, count(*) FILTER (WHERE i.status = 'paid') AS paid, count(t.id) AS trying
    FROM invoices i LEFT JOIN payment_attempts t ON t.invoice_id = i.id AND t.status = 'open'
"""


class NotProvokedError(Exception):
    """The situation did not come about, so that nothing was shown; the message says what was waited for."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Invoices opened, paid, and those whose attempt is under way."""

    invoices: int
    paid: int
    trying: int


@dataclass(slots=True)
class World:
    """`settings` is what replicas are launched with, by name; the cluster reads it anew at each launch."""

    cluster: Cluster
    settings: "Settings"
    _readers: dict[str, LogReader] = field(default_factory=dict)
    _logged_before: dict[str, int] = field(default_factory=dict)
    _crowds: int = 0

    # Who plays.

    async def nobody_runs(self) -> None:
        """SIGKILL to every replica."""
        await gather_all(each.kill() for each in self.cluster.replicas)

    async def launch(self, name: str, env: Env) -> ManagedProcess:
        """Start one replica anew and do not wait: it may be meant to die before it is ready."""
        member = self.cluster.member(name)
        await member.kill()
        self.settings[name] = dict(env)
        self._logged_before[name] = len(self._lines(name))
        await member.launch()
        return member

    async def play(self, name: str, env: Env = SAFE) -> None:
        """Start one replica anew and wait until it is ready."""
        await (await self.launch(name, env)).wait_ready()

    async def clean(self) -> None:
        """Empty books and an empty ledger; no replica runs afterwards."""
        await self.nobody_runs()
        await self.cluster.sandbox.kill()
        await asyncio.to_thread(shutil.rmtree, self.sandbox_data)
        await self.cluster.sandbox.start()
        await self.execute(_WIPE)
        await self.revoke_leases()

    async def revoke_leases(self) -> None:
        """So that the next replica need not wait until the lease of the dead has expired."""
        url = self.cluster.etcd.members[0].url
        async with httpx.AsyncClient(base_url=url, timeout=HTTP_TIMEOUT_S, trust_env=False) as etcd:
            leases = (await etcd.post("/v3/lease/leases", json={})).raise_for_status().json()
            for lease in leases.get("leases", []):
                (await etcd.post("/v3/lease/revoke", json={"ID": lease["ID"]})).raise_for_status()

    # What they play with.

    async def subscribe(self, count: int) -> None:
        """`count` monthly subscriptions of one customer, each due for an hour."""
        self._crowds += 1
        name = f"c{self._crowds}"
        async with self._sandbox(self.cluster.sandbox.api_key) as sandbox:
            customer = await _post(sandbox, "/v1/customers", data={"email": f"{name}@example.com"})
            card = await _post(
                sandbox, "/v1/payment_methods/pm_card_visa/attach", data={"customer": customer["id"]}
            )
        await self.execute(_SUBSCRIBE, name, count, customer["id"], card["id"])

    async def lose_answers(self, operation: str, times: int) -> None:
        """The processor does what it is asked, so many times, and does not say so."""
        rule = {"match": {"operation": operation}, "action": {"type": "drop_after"}, "times": times}
        async with self._sandbox(self.cluster.sandbox.admin_key) as sandbox:
            await _post(sandbox, "/admin/faults", json=rule)

    @property
    def sandbox_data(self) -> Path:
        """Where the processor keeps its ledger."""
        return self.cluster.spec.data_dir / "sandbox" / "data"

    def _sandbox(self, key: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.AsyncClient(
            base_url=self.cluster.sandbox.url, headers=headers, timeout=HTTP_TIMEOUT_S, trust_env=False
        )

    # What can be seen.

    async def verdict(self, *, at_rest: bool = True, promptness: Promptness | None = None) -> Verdict:
        """What the judge says; `at_rest`: nothing may be in flight."""
        sandbox = self.cluster.sandbox
        sources = Sources(self.cluster.judge_database_url, sandbox.url, sandbox.admin_key)
        return await judge(sources, require_rest=at_rest, promptness=promptness)

    async def until(self, what: str, look: Callable[[], Awaitable[SeenT | None]]) -> SeenT:
        """Poll other processes until there is something to see. Raises `NotProvokedError`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    if (seen := await look()) is not None:
                        return seen
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NotProvokedError(f"not within {PATIENCE_S:g} s: {what}") from None

    async def until_charged(self, what: str, reached: Callable[[Progress], bool]) -> None:
        """Wait until the charges are so far. Raises `NotProvokedError`."""

        async def look() -> Progress | None:
            [row] = await self.fetch(_PROGRESS)
            progress = Progress(**row)
            return progress if reached(progress) else None

        await self.until(what, look)

    async def until_paid(self, count: int) -> None:
        """Wait until so many invoices are paid, and nothing is under way. Raises `NotProvokedError`."""
        await self.until_charged(
            f"{count} invoices paid", lambda progress: progress.paid >= count and not progress.trying
        )

    async def until_logged(self, name: str, event: str, **values: object) -> dict[str, Any]:
        """Wait until a replica has logged that since its last launch. Raises `NotProvokedError`."""

        async def look() -> dict[str, Any] | None:
            lines = self._lines(name)[self._logged_before.get(name, 0) :]
            found = [line for line in lines if line["event"] == event and values.items() <= line.items()]
            return found[0] if found else None

        return await self.until(f"{name} logs {event}", look)

    async def until_frozen(self, name: str) -> None:
        """Wait until a replica has stopped itself (SIGSTOP). Raises `NotProvokedError`."""
        state = Path(f"/proc/{self.cluster.member(name).pid}/stat")

        async def look() -> bool | None:
            # proc(5): the state is the first field after the name in brackets.
            return state.read_text().rpartition(")")[2].split()[0] == "T" or None  # noqa: ASYNC240  # not on a disk

        await self.until(f"{name} stops itself", look)

    async def clock(self) -> datetime:
        """The database's real time."""
        [row] = await self.fetch("SELECT clock_timestamp()")
        instant: datetime = row[0]
        return instant

    async def fetch(self, query: str, *parameters: object) -> "list[asyncpg.Record]":
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

    async def tamper(self, statement: str, *parameters: object) -> None:
        """A statement of the database's owner, whom no trigger stops."""
        connection = await self.cluster.postgres.connect()
        try:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(statement, *parameters)
        finally:
            connection.terminate()

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return self._readers.setdefault(name, LogReader(self.cluster.member(name).log_path)).lines()


async def _post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = (await client.post(path, **body)).raise_for_status()
    content: dict[str, Any] = answer.json()
    return content
