"""Does a healthy leader keep its lease under full load? Counts the terms of a run in which nobody is hurt.

For each lease TTL it starts a cluster of its own, lets more fall due than one leader can charge, keeps REST clients
going beside, and counts: one term is right, every further one is a failover that nothing called for. It also
counts renewals that failed, each of which is a step towards one, and what was charged, so that "full load" can be
checked. In the end the judge looks at what was charged.

Exit status 0 if the default TTL had no needless term and every verdict holds, 1 if not, 2 on misuse.
"""

import argparse
import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.demo.tasks import beside
from chaos.drive.eyes import Eyes
from chaos.drive.local import LocalTarget
from chaos.judge.judging import Sources, judge
from chaos.workload.workload import Workload
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.spec import ClusterSpec

DEFAULT_TTL_S = 3
SUBSCRIBERS = 2000
CLOCK_RATE = 129_600.0
"""A day and a half a second: two thousand daily subscriptions make 3,000 due a second, about twice what one charges."""
REPORT_EVERY_S = 30.0

_CHARGED = "SELECT count(*) FROM payment_attempts WHERE status = 'succeeded'"
_DUE = "SELECT count(*) FROM subscriptions WHERE status = 'active' AND next_due_at <= business_now()"


@dataclass(frozen=True, slots=True)
class Endurance:
    """One run. `starved_s` is how long it was seen without anything due, which would not be full load."""

    lease_ttl_s: int
    lasted_s: float
    terms: int
    renewals_failed: int
    charged: int
    starved_s: float
    holds: bool

    @property
    def needless_terms(self) -> int:
        """Terms beyond the first."""
        return self.terms - 1

    @property
    def charged_per_s(self) -> float:
        """Succeeded charges a second."""
        return self.charged / self.lasted_s


async def endure(data_dir: Path, lease_ttl_s: int, duration_s: float) -> Endurance:
    """Full load for that long on a cluster of its own."""
    spec = ClusterSpec(data_dir=data_dir, lease_ttl_s=lease_ttl_s, fresh=True)
    async with Cluster(spec) as cluster:
        target = LocalTarget(cluster, {})
        access = target.access
        async with (
            Eyes(target) as eyes,
            Workload(access, seed=1, subscribers=SUBSCRIBERS, clock_rate=CLOCK_RATE) as workload,
        ):
            await workload.begin()
            before = int(await eyes.value(_CHARGED))
            starved_s = 0.0
            async with beside(workload.run()):
                loop = asyncio.get_running_loop()
                began_s = told_s = loop.time()
                while (lasted_s := loop.time() - began_s) < duration_s:
                    await asyncio.sleep(1.0)
                    starved_s += int(await eyes.value(_DUE)) == 0
                    if loop.time() - told_s >= REPORT_EVERY_S:
                        told_s = loop.time()
                        print(
                            f"TTL {lease_ttl_s} s: {lasted_s:.0f} s, term {await eyes.newest_term()}, "
                            f"{await eyes.value(_DUE)} due",
                            file=sys.stderr,
                            flush=True,
                        )
                charged = int(await eyes.value(_CHARGED)) - before
                terms = await eyes.newest_term()
            await workload.quiet()
            await workload.set_clock(0)
        failed = sum(
            line["event"] == "lease.renewal_failed" for name in target.replicas for line in target.log(name)
        )
        verdict = await judge(
            Sources(access.judge_database_url, access.sandbox_url, access.sandbox_admin_key)
        )
    return Endurance(lease_ttl_s, lasted_s, terms, failed, charged, starved_s, verdict.holds)


def _table(runs: list[Endurance]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for column in ("TTL", "lasted", "charged/s", "starved", "needless terms", "renewals failed", "verdict"):
        table.add_column(column, justify="right", no_wrap=True)
    for run in runs:
        table.add_row(
            f"{run.lease_ttl_s} s",
            f"{run.lasted_s:.0f} s",
            f"{run.charged_per_s:,.0f}",
            f"{run.starved_s:.0f} s",
            str(run.needless_terms),
            str(run.renewals_failed),
            "holds" if run.holds else "DOES NOT HOLD",
        )
    return table


def main() -> int:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--duration-s", type=float, default=600.0, help="of each run (default 600)")
    parser.add_argument(
        "--lease-ttl-s", type=int, nargs="+", default=[DEFAULT_TTL_S], help="one run for each (default 3)"
    )
    parser.add_argument("--data-dir", type=Path, default=Path(".middleman/endurance"))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    if options.duration_s <= 0 or min(options.lease_ttl_s) < 1:
        parser.error("durations and TTLs are positive")
    runs: list[Endurance] = []
    try:
        runs += [
            asyncio.run(endure(options.data_dir, lease_ttl_s, options.duration_s))
            for lease_ttl_s in options.lease_ttl_s
        ]
    except ClusterError as error:
        print(f"false_failovers: {error}", file=sys.stderr)
        return 1
    Console().print(_table(runs))
    if options.json:
        options.json.write_text(json.dumps([asdict(run) for run in runs], indent=2) + "\n")
    needless = any(run.needless_terms for run in runs if run.lease_ttl_s == DEFAULT_TTL_S)
    return 1 if needless or not all(run.holds for run in runs) else 0


if __name__ == "__main__":
    sys.exit(main())
