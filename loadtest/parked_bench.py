"""What parked attempts cost everybody else: the same new customers with and without them, in one run.

Both sides charge as many new subscriptions through one leader, in turn, round by round. On the one side thousands of
attempts are parked and all due for a try, whose payment intents the processor does not show; on the other side the same
attempts are parked until tomorrow. It also counts how often the leader read a payment intent meanwhile, beside its rate
limit of reading, of which parked attempts may take one in twenty.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import httpx
from rich.console import Console

from cluster.cluster import Cluster
from cluster.spec import ClusterSpec

_ROUND_TIMEOUT_S = 300.0
_READS = "payment_intents.retrieve"
_PLAN = (
    "INSERT INTO plans (id, name, amount_minor, currency, interval_unit, interval_count)"
    " VALUES ('pl_bench', 'Bench', 999, 'EUR', 'year', 1)"
)
_CUSTOMER = (
    "INSERT INTO customers (id, email, processor_customer_id, payment_method_id)"
    " VALUES ('cu_bench', 'bench@example.com', $1, $2)"
)
# Anchored far ahead; a round falls due when its anchor is moved to the past. Period 0 of a parked one is claimed already.
_SUBSCRIPTIONS = (
    "INSERT INTO subscriptions (id, customer_id, plan_id, amount_minor, currency, interval_unit, interval_count,"
    " anchor_local, time_zone, next_period_no, next_due_at, metadata)"
    " SELECT 'sub_' || $1 || 'x' || n, 'cu_bench', 'pl_bench', 999, 'EUR', 'year', 1, '2100-01-01', 'UTC', $3::int,"
    " '2100-01-01Z', jsonb_build_object('round', $1::text) FROM generate_series(1, $2::int) n"
)
_PARKED = """
    ALTER TABLE invoices DISABLE TRIGGER USER;
    ALTER TABLE payment_attempts DISABLE TRIGGER USER;
    INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end, amount_minor,
                          currency, processor_customer_id, payment_intent_id, created_term, bound_term)
    SELECT 'in_' || substr(s.id, 5) || '_0', s.id, s.customer_id, 0, 0, now(), now() + interval '1 year', 999, 'EUR',
           c.processor_customer_id, 'pi_' || substr(s.id, 5), 1, 1
    FROM subscriptions s JOIN customers c ON c.id = s.customer_id WHERE s.metadata ->> 'round' = 'parked';
    INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency, processor_customer_id,
                                  payment_method_id, created_term, unknown_reason, unknown_at, parked_until, parked_count)
    SELECT 'at_' || substr(i.id, 4) || '_1', i.id, 0, 1, 999, 'EUR', i.processor_customer_id, 'pm_card_visa', 1,
           'processing', now(), now() + interval '1 day', 1
    FROM invoices i;
    ALTER TABLE invoices ENABLE TRIGGER USER;
    ALTER TABLE payment_attempts ENABLE TRIGGER USER;
"""
_DUE_NOW = "SELECT retry_parked_attempts(NULL)"
_DUE_TOMORROW = """
    ALTER TABLE payment_attempts DISABLE TRIGGER USER;
    UPDATE payment_attempts SET parked_until = now() + interval '1 day' WHERE parked_until IS NOT NULL;
    ALTER TABLE payment_attempts ENABLE TRIGGER USER;
"""
_FALL_DUE = (
    "UPDATE subscriptions SET next_due_at = business_now() - interval '1 second',"
    " anchor_local = (business_now() - interval '1 second') AT TIME ZONE 'UTC' WHERE metadata ->> 'round' = $1"
)
_PAID = (
    "SELECT count(*) FROM invoices i JOIN subscriptions s ON s.id = i.subscription_id"
    " WHERE s.metadata ->> 'round' = $1 AND i.status = 'paid'"
)
_TOOK = (
    "SELECT EXTRACT(EPOCH FROM max(i.settled_at) - min(i.created_at))::float8 FROM invoices i"
    " JOIN subscriptions s ON s.id = i.subscription_id WHERE s.metadata ->> 'round' = $1"
)


@dataclass(frozen=True, slots=True)
class Round:
    """Seconds for the same number of new customers, and the payment intents that were read a second."""

    without_s: float
    beside_parked_s: float
    reads_per_s: float

    @property
    def ratio(self) -> float:
        """How much longer it takes beside parked attempts."""
        return self.beside_parked_s / self.without_s


async def bench(
    parked: int, customers: int, rounds: int, rate_limit_per_s: float, data_dir: Path, console: Console
) -> list[Round]:
    """Run the benchmark on a cluster of its own with one replica."""
    settings = {"MIDDLEMAN_RATE_LIMIT_PER_S": str(rate_limit_per_s), "MIDDLEMAN_LOG_LEVEL": "error"}
    spec = ClusterSpec(data_dir=data_dir, replicas=1, apis=0, fresh=True, extra_env={"replica": settings})
    async with Cluster(spec, progress=lambda step: console.print(f"  {step}", style="dim")) as cluster:
        assert cluster.sandbox is not None
        database = await cluster.postgres.connect()
        headers = {"Authorization": f"Bearer {cluster.sandbox.api_key}"}
        async with httpx.AsyncClient(
            base_url=cluster.sandbox.url, headers=headers, timeout=30, trust_env=False
        ) as http:
            await _seed(database, http, parked, customers, rounds)
        admin = {"Authorization": f"Bearer {cluster.sandbox.admin_key}"}
        done = []
        async with httpx.AsyncClient(
            base_url=cluster.sandbox.url, headers=admin, timeout=30, trust_env=False
        ) as http:
            for number in range(rounds):
                sides = ("without", "beside") if number % 2 == 0 else ("beside", "without")
                took: dict[str, tuple[float, float]] = {}
                for side in sides:
                    await database.execute(_DUE_NOW if side == "beside" else _DUE_TOMORROW)
                    took[side] = await _charge(database, http, f"{side}{number}", customers)
                done.append(Round(took["without"][0], took["beside"][0], took["beside"][1]))
                console.print(
                    f"  round {number + 1}/{rounds}: without {done[-1].without_s:.2f} s,"
                    f" beside {parked:,} parked {done[-1].beside_parked_s:.2f} s, ratio {done[-1].ratio:.3f},"
                    f" {done[-1].reads_per_s:.1f} reads/s"
                )
        await database.close()
    return done


async def _seed(
    database: "asyncpg.Connection[asyncpg.Record]",
    http: httpx.AsyncClient,
    parked: int,
    customers: int,
    rounds: int,
) -> None:
    made = (await http.post("/v1/customers", data={"email": "bench@example.com"})).raise_for_status().json()
    card = await http.post("/v1/payment_methods/pm_card_visa/attach", data={"customer": made["id"]})
    await database.execute(_PLAN)
    await database.execute(_CUSTOMER, made["id"], card.raise_for_status().json()["id"])
    await database.execute(_SUBSCRIPTIONS, "parked", parked, 1)
    await database.execute(_PARKED)
    for number in range(rounds):
        for side in ("without", "beside"):
            await database.execute(_SUBSCRIPTIONS, f"{side}{number}", customers, 0)
    await database.execute("ANALYZE")


async def _charge(
    database: "asyncpg.Connection[asyncpg.Record]", http: httpx.AsyncClient, name: str, customers: int
) -> tuple[float, float]:
    """Let one round fall due; returns the seconds from its first claim to its last settle, and reads a second."""
    reads, began_s = await _reads(http), time.monotonic()
    await database.execute(_FALL_DUE, name)
    while time.monotonic() < began_s + _ROUND_TIMEOUT_S:
        if await database.fetchval(_PAID, name) == customers:
            reads_per_s = (await _reads(http) - reads) / (time.monotonic() - began_s)
            return float(await database.fetchval(_TOOK, name)), reads_per_s
        await asyncio.sleep(0.1)
    raise SystemExit(f"{name} was not settled within {_ROUND_TIMEOUT_S:.0f} s")


async def _reads(http: httpx.AsyncClient) -> int:
    stats = (await http.get("/admin/stats")).raise_for_status().json()
    counted: dict[str, int] = stats["requests"].get(_READS, {})
    return sum(counted.values())


def main() -> None:
    """Entry point: `.venv/bin/python loadtest/parked_bench.py`."""
    parser = argparse.ArgumentParser(description="What parked attempts cost everybody else.")
    parser.add_argument("--parked", type=int, default=20_000)
    parser.add_argument("--customers", type=int, default=500, help="new subscriptions a round and side")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--rate-limit-per-s", type=float, default=200.0, help="0: none")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    given = parser.parse_args()
    console = Console()
    data_dir = Path(tempfile.mkdtemp(prefix="mm-parked-"))
    data_dir.chmod(0o711)
    try:
        work = bench(given.parked, given.customers, given.rounds, given.rate_limit_per_s, data_dir, console)
        done = asyncio.run(work)
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)
    ratios = [each.ratio for each in done]
    reads = statistics.median(each.reads_per_s for each in done)
    share = f", {reads / given.rate_limit_per_s:.1%} of the rate limit" if given.rate_limit_per_s else ""
    console.print(
        f"beside {given.parked:,} parked attempts {given.customers} new customers take"
        f" {statistics.median(ratios):.3f} times as long ({min(ratios):.3f} to {max(ratios):.3f});"
        f" {reads:.1f} reads/s{share}"
    )
    if given.json is not None:
        figures = [asdict(each) | {"ratio": each.ratio} for each in done]
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
