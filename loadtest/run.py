"""`make loadtest`: Locust against the REST API of a cluster of its own, for a bounded time; then the judge.

Starts PostgreSQL, etcd, sandbox, API and replicas, runs the scenario in `locustfile.py` in a process of its
own, prints requests per second and latencies per endpoint, and asks the judge whether what the load left
behind was charged rightly. Everything is stopped in the end.

Exit status 0, 1 if a request failed or the verdict does not hold, 2 on misuse.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from chaos.judge.judging import Sources, judge
from chaos.report import verdict_table
from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.spec import ClusterSpec

HERE = Path(__file__).resolve().parent
_GRACE_S = 30.0  # beyond its run time, for Locust to start and to stop
_BUCKETS_SHOWN = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What one kind of request did; latencies in milliseconds, as Locust's clients saw them."""

    name: str
    requests: int
    failures: int
    per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class LocustFailedError(Exception):
    """Locust ended without figures; the message says why."""


async def drive(
    cluster: Cluster, scenario: Path, users: int, duration_s: int, figures_file: Path
) -> list[Endpoint]:
    """Run the scenario for `duration_s`; what it did, per endpoint."""
    command = [
        *(sys.executable, "-m", "locust", "--locustfile", str(scenario), "--headless"),
        *("--host", cluster.apis[0].url, "--users", str(users), "--spawn-rate", str(max(1, users // 4))),
        *("--run-time", f"{duration_s}s", "--stop-timeout", "5", "--only-summary", "--loglevel", "ERROR"),
        *("--exit-code-on-error", "0", "--json-file", str(figures_file.with_suffix(""))),
    ]
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"MIDDLEMAN_API_KEY": cluster.keys.api_key},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(duration_s + _GRACE_S):
            status = await process.wait()
    except TimeoutError:
        raise LocustFailedError(f"Locust did not end {_GRACE_S:.0f} s after its run time") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status != 0:
        raise LocustFailedError(f"Locust ended with status {status}: see what it wrote above")
    return await asyncio.to_thread(_figures, figures_file)


def _figures(figures_file: Path) -> list[Endpoint]:
    if not figures_file.is_file() or not (entries := json.loads(figures_file.read_text())):
        raise LocustFailedError("no request was answered: there are no figures")
    ended_s = max(entry["last_request_timestamp"] or entry["start_time"] for entry in entries)
    took_s = max(ended_s - min(entry["start_time"] for entry in entries), 0.001)
    return [_endpoint(entry, took_s) for entry in entries]


def _endpoint(entry: dict[str, Any], took_s: float) -> Endpoint:
    """One entry of Locust's statistics. Response times come as a histogram {milliseconds: count}."""
    times = sorted((float(milliseconds), count) for milliseconds, count in entry["response_times"].items())
    p50, p95, p99 = (_percentile(times, share) for share in _BUCKETS_SHOWN)
    return Endpoint(
        name=f"{entry['method']} {entry['name']}",
        requests=entry["num_requests"],
        failures=entry["num_failures"],
        per_s=entry["num_requests"] / took_s,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
    )


def _percentile(times: list[tuple[float, int]], share: float) -> float:
    wanted = share * sum(count for _, count in times)
    seen = 0
    for milliseconds, count in times:
        seen += count
        if seen >= wanted:
            return milliseconds
    return 0.0


async def measure(options: argparse.Namespace, console: Console) -> int:
    """Start the cluster, drive it, judge it; the exit status."""
    spec = ClusterSpec(data_dir=options.data_dir, replicas=options.replicas, fresh=True)
    async with Cluster(spec, progress=lambda step: console.print(f"  {step}", style="dim")) as cluster:
        console.print(f"  {options.users} users for {options.duration_s} s", style="dim")
        figures_file = cluster.spec.data_dir / "locust.json"
        await asyncio.to_thread(figures_file.unlink, missing_ok=True)
        done = await drive(cluster, options.scenario, options.users, options.duration_s, figures_file)
        sources = Sources(cluster.judge_database_url, cluster.sandbox.url, cluster.sandbox.admin_key)
        verdict = await judge(sources)
    console.print(_table(done))
    console.print(verdict_table(verdict))
    if options.json is not None:
        result = {
            "endpoints": [asdict(each) for each in done],
            "total_per_s": sum(each.per_s for each in done),
            "failures": sum(each.failures for each in done),
            "verdict_holds": verdict.holds,
        }
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if verdict.holds and done and not any(each.failures for each in done) else 1


def _table(done: list[Endpoint]) -> Table:
    table = Table(title="The REST API under load (latencies in ms)", box=None, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for column in ("requests", "failed", "per s", "p50", "p95", "p99"):
        table.add_column(column, justify="right")
    for each in sorted(done, key=lambda one: one.name):
        latencies = (f"{value:,.0f}" for value in (each.p50_ms, each.p95_ms, each.p99_ms))
        table.add_row(each.name, f"{each.requests:,}", f"{each.failures:,}", f"{each.per_s:,.1f}", *latencies)
    total = (sum(each.requests for each in done), sum(each.failures for each in done))
    table.add_row(
        "all", f"{total[0]:,}", f"{total[1]:,}", f"{sum(each.per_s for each in done):,.1f}", "", "", ""
    )
    return table


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Options from the command line; misuse exits with status 2."""
    parser = argparse.ArgumentParser(prog="loadtest/run.py", description=__doc__)
    parser.add_argument("--users", type=int, default=64, help="at once (default %(default)s)")
    parser.add_argument("--duration-s", type=int, default=20, help="how long (default %(default)s)")
    parser.add_argument("--scenario", type=Path, default=HERE / "locustfile.py", help="what the users do")
    parser.add_argument("--replicas", type=int, default=3, help="(default %(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path(".middleman/loadtest"))
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args(arguments)
    for name, most in (("users", 1000), ("duration_s", 3600), ("replicas", 9)):
        if not 1 <= getattr(options, name) <= most:
            parser.error(f"--{name.replace('_', '-')} must be from 1 to {most}")
    if not options.scenario.is_file():
        parser.error(f"--scenario {options.scenario}: there is no such file")
    return options


async def _until_stopped(options: argparse.Namespace, console: Console) -> int:
    task = asyncio.current_task()
    assert task is not None  # we run inside asyncio.run
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure(options, console)


def main() -> int:
    """Entry point of the script."""
    options = parse()
    console = Console()
    try:
        return asyncio.run(_until_stopped(options, console))
    except (ClusterError, LocustFailedError) as error:
        console.print(f"loadtest: {error}", style="bold red")
        return 1
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130


if __name__ == "__main__":
    sys.exit(main())
