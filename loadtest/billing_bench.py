"""`middleman bench billing`: what one leader settles per second, beside the bare limit, in one run.

Both sides charge the same customers on the same sandbox with the same concurrency, in turn, round by
round: the bare side creates and confirms through the SDK in a process of its own; the leader does the same
through claim, create, bind, confirm and settle on PostgreSQL. The ratio of each round compares neighbours
in time, so that a machine whose speed drifts does not decide it.
"""

import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import asyncpg
import httpx
from rich.console import Console
from rich.table import Table

from cluster.cluster import Cluster
from cluster.spec import ClusterSpec

_CLONE = Path(__file__).resolve().parents[1]
_SUBSCRIPTIONS_PER_CUSTOMER = 10
_ROUND_TIMEOUT_S = 300.0
_PLAN = (
    "INSERT INTO plans (id, name, amount_minor, currency, interval_unit, interval_count)"
    " VALUES ('pl_bench', 'Bench', 999, 'EUR', 'year', 1)"
)
_CUSTOMERS = (
    "INSERT INTO customers (id, email, processor_customer_id, payment_method_id)"
    " SELECT 'cu_' || n, n || '@example.com', c, p FROM unnest($1::text[], $2::text[]) WITH ORDINALITY x(c, p, n)"
)
# Anchored far ahead; a round falls due when its anchor is moved to the past.
_SUBSCRIPTIONS = (
    "INSERT INTO subscriptions (id, customer_id, plan_id, amount_minor, currency, interval_unit, interval_count,"
    " anchor_local, time_zone, next_due_at, metadata)"
    " SELECT 'sub_' || n, 'cu_' || ((n - 1) / $2::int + 1), 'pl_bench', 999, 'EUR', 'year', 1,"
    " '2100-01-01', 'UTC', '2100-01-01Z', jsonb_build_object('round', ((n - 1) / $3::int)::text)"
    " FROM generate_series(1, $1::int) n"
)
_FALL_DUE = (
    "UPDATE subscriptions SET next_due_at = business_now() - interval '1 second',"
    " anchor_local = (business_now() - interval '1 second') AT TIME ZONE 'UTC' WHERE metadata ->> 'round' = $1"
)
_PROGRESS = (
    "SELECT count(*) FILTER (WHERE i.status = 'paid') AS paid,"
    " EXTRACT(EPOCH FROM max(i.settled_at) - min(i.created_at))::float8 AS took_s"
    " FROM invoices i JOIN subscriptions s ON s.id = i.subscription_id WHERE s.metadata ->> 'round' = $1"
)


@dataclass(frozen=True, slots=True)
class Round:
    """One round: charges per second on either side."""

    charges: int
    bare_per_s: float
    leader_per_s: float

    @property
    def ratio(self) -> float:
        """How much of the bare limit the leader reaches."""
        return self.leader_per_s / self.bare_per_s


async def bench(
    subscriptions: int, rounds: int, concurrency: int, data_dir: Path, console: Console
) -> list[Round]:
    """Run the benchmark on a cluster of its own with one replica."""
    spec = ClusterSpec(
        data_dir=data_dir,
        replicas=1,
        apis=0,
        fresh=True,
        extra_env={"replica": {"MIDDLEMAN_CONCURRENCY": str(concurrency), "MIDDLEMAN_LOG_LEVEL": "warning"}},
    )
    per_round = subscriptions // rounds
    async with Cluster(spec, progress=lambda step: console.print(f"  {step}", style="dim")) as cluster:
        database = await cluster.postgres.connect()
        customers = await _seed(cluster, database, subscriptions, per_round, concurrency, console)
        done = []
        for number in range(rounds):
            batch = [
                customers[i // _SUBSCRIPTIONS_PER_CUSTOMER]
                for i in range(number * per_round, (number + 1) * per_round)
            ]
            bare_s = await _bare_round(cluster, batch, concurrency, str(number))
            leader_s = await _leader_round(database, number, per_round)
            done.append(Round(per_round, per_round / bare_s, per_round / leader_s))
            console.print(
                f"  round {number + 1}/{rounds}: bare {done[-1].bare_per_s:,.0f}/s,"
                f" leader {done[-1].leader_per_s:,.0f}/s, ratio {done[-1].ratio:.2f}"
            )
        await database.close()
    return done


async def _seed(
    cluster: Cluster,
    database: "asyncpg.Connection[asyncpg.Record]",
    subscriptions: int,
    per_round: int,
    concurrency: int,
    console: Console,
) -> list[dict[str, str]]:
    count = -(-subscriptions // _SUBSCRIPTIONS_PER_CUSTOMER)
    console.print(f"  making {count:,} customers and {subscriptions:,} subscriptions", style="dim")
    assert cluster.sandbox is not None
    gate = asyncio.Semaphore(concurrency)
    headers = {"Authorization": f"Bearer {cluster.sandbox.api_key}"}
    limits = httpx.Limits(max_connections=concurrency)
    async with httpx.AsyncClient(
        base_url=cluster.sandbox.url, headers=headers, limits=limits, timeout=30, trust_env=False
    ) as http:

        async def customer(number: int) -> dict[str, str]:
            async with gate:
                made = await http.post("/v1/customers", data={"email": f"{number}@example.com"})
                made.raise_for_status()
                customer_id = made.json()["id"]
                card = await http.post(
                    "/v1/payment_methods/pm_card_visa/attach", data={"customer": customer_id}
                )
                card.raise_for_status()
                return {"customer": customer_id, "payment_method": card.json()["id"]}

        customers = await asyncio.gather(*(customer(number) for number in range(count)))
    await database.execute(_PLAN)
    await database.execute(
        _CUSTOMERS, [c["customer"] for c in customers], [c["payment_method"] for c in customers]
    )
    await database.execute(_SUBSCRIPTIONS, subscriptions, _SUBSCRIPTIONS_PER_CUSTOMER, per_round)
    await database.execute("ANALYZE")
    return customers


async def _bare_round(
    cluster: Cluster, customers: list[dict[str, str]], concurrency: int, name: str
) -> float:
    assert cluster.sandbox is not None
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "loadtest.bare_limit", "--base", cluster.sandbox.url),
        *("--concurrency", str(concurrency), "--round", name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=_CLONE,
        env=os.environ | {"STRIPE_API_KEY": cluster.sandbox.api_key},
    )
    output, _ = await asyncio.wait_for(process.communicate(json.dumps(customers).encode()), _ROUND_TIMEOUT_S)
    if process.returncode != 0:
        raise SystemExit(f"the bare side failed with status {process.returncode}")
    return float(json.loads(output)["took_s"])


async def _leader_round(database: "asyncpg.Connection[asyncpg.Record]", number: int, charges: int) -> float:
    """Let one round fall due and wait until it is settled; returns the seconds from first claim to last settle."""
    await database.execute(_FALL_DUE, str(number))
    deadline_s = time.monotonic() + _ROUND_TIMEOUT_S
    while time.monotonic() < deadline_s:
        row = await database.fetchrow(_PROGRESS, str(number))
        if row is not None and row["paid"] == charges:
            return float(row["took_s"])
        await asyncio.sleep(0.5)
    raise SystemExit(f"round {number + 1} was not settled within {_ROUND_TIMEOUT_S:.0f} s")


def report(rounds: list[Round], console: Console) -> dict[str, object]:
    """Print the table; returns what goes into the JSON file."""
    table = Table(title="Charges per second: one leader beside the bare SDK")
    for column in ("", "median", "min", "max"):
        table.add_column(column, justify="right" if column else "left")
    figures = {
        "bare_per_s": [r.bare_per_s for r in rounds],
        "leader_per_s": [r.leader_per_s for r in rounds],
        "ratio": [r.ratio for r in rounds],
    }
    for name, values in figures.items():
        shown = [statistics.median(values), min(values), max(values)]
        table.add_row(name, *(f"{value:,.2f}" if name == "ratio" else f"{value:,.0f}" for value in shown))
    console.print(table)
    return {
        "charges": sum(r.charges for r in rounds),
        "medians": {name: statistics.median(values) for name, values in figures.items()},
        "rounds": [asdict(r) | {"ratio": r.ratio} for r in rounds],
    }


def run(subscriptions: int, rounds: int, concurrency: int, json_file: Path | None) -> None:
    """What `middleman bench billing` does."""
    console = Console()
    data_dir = Path(tempfile.mkdtemp(prefix="mm-bench-"))
    data_dir.chmod(0o711)
    try:
        done = asyncio.run(bench(subscriptions, rounds, concurrency, data_dir, console))
    finally:
        shutil.rmtree(data_dir, ignore_errors=True)
    result = report(done, console)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n")
