"""Starts a cluster, measures on it, brings it to rest and asks the judge."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path as FilePath

import httpx

from chaos.demo.rest import come_to_rest
from chaos.demo.rest_client import RestClient
from chaos.failover.drill import Drill
from chaos.failover.logs import Logs
from chaos.failover.plan import Kind, Path, Plan
from chaos.failover.report import Report, told
from chaos.failover.steady import FailoverError, Watch
from chaos.failover.timeline import Takeover
from chaos.failover.workload import WORKERS, open_business
from chaos.interruption import interruptible
from chaos.judge.judging import Sources, connect, judge
from cluster.cluster import Cluster
from cluster.spec import ClusterSpec
from cluster.together import gather_all

HTTP_TIMEOUT_S = 2.0

Say = Callable[[str], None]


def say(text: str) -> None:
    """A line of progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


async def show(plan: Plan, data_dir: FilePath, *, progress: Say = say) -> Report:
    """Everything from the first server's start to the verdict, on an empty `data_dir`.

    Raises what starting a cluster raises, `RestError` and `CannotJudgeError`. Ctrl-C or SIGTERM ends the run
    under way and goes on to the verdict; a second one, or one before the servers are up, gives up with
    `CancelledError`.
    """
    environment: dict[str, str] = {}
    spec = ClusterSpec(
        data_dir=data_dir,
        replicas=plan.replicas,
        fresh=True,
        # Only where they are needed: they run in our event loop, in the way of what is measured.
        links=plan.kind is Kind.PARTITION,
        extra_env={"replica": environment},
    )
    stop = asyncio.Event()
    with interruptible(stop) as allow_rest:
        async with Cluster(spec, progress=progress) as cluster:
            allow_rest()
            report = await _Measurement(cluster, plan, environment, stop, progress).run()
            progress("stopping the servers")
    return report


@dataclass(slots=True)
class _Measurement:
    """`environment` is what replicas are started with beside their usual one."""

    cluster: Cluster
    plan: Plan
    environment: dict[str, str]
    stop: asyncio.Event
    progress: Say
    runs: list[Takeover] = field(default_factory=list)

    async def run(self) -> Report:
        client = RestClient(self.cluster.apis[0].url, self.cluster.keys.api_key, connections=WORKERS)
        async with client:
            self.progress(f"subscribing {self.plan.subscriptions}, each due every virtual day")
            await open_business(client, self.plan)
            failure = ""
            try:
                await self._measure()
            except FailoverError as error:
                failure = str(error)
                self.progress(f"FAILED: {failure}")
            await self.cluster.heal()
            await client.set_test_clock(rate=0)
        return await self._judged(failure)

    async def _measure(self) -> None:
        async with _watching(self.cluster, self.plan) as drill:
            for path in self.plan.paths:
                await self._take(path)
                for number in range(1, self.plan.runs + 1):
                    run = await drill.run(number, path, self.stop)
                    if run is None:
                        return
                    self.runs.append(run)
                    self.progress(told(run, self.plan))

    async def _take(self, path: Path) -> None:
        """Make the replicas notice as the path says."""
        if path is Path.LEASE_ONLY and not self.stop.is_set():
            self.progress("restarting the replicas with the pulse switched off")
            self.environment["MIDDLEMAN_PULSE"] = "off"
            await gather_all(replica.restart() for replica in self.cluster.replicas)

    async def _judged(self, failure: str) -> Report:
        self.progress("coming to rest: charging what fell due before the clock stopped")
        connection = await connect(self.cluster.judge_database_url)
        try:
            left = await come_to_rest(connection, self.plan.rest_timeout_s)
        finally:
            connection.terminate()
        self.progress("judging")
        sandbox = self.cluster.sandbox
        sources = Sources(self.cluster.judge_database_url, sandbox.url, sandbox.admin_key)
        return Report(
            plan=self.plan,
            lease_ttl_s=self.cluster.spec.lease_ttl_s,
            runs=tuple(self.runs),
            verdict=await judge(sources, require_rest=True),
            left_moving=str(left) if left else "",
            interrupted=self.stop.is_set(),
            failure=failure,
        )


@contextlib.asynccontextmanager
async def _watching(cluster: Cluster, plan: Plan) -> AsyncIterator[Drill]:
    logs = Logs({replica.name: replica.log_path for replica in cluster.replicas})
    connection = await connect(cluster.judge_database_url)
    try:
        async with httpx.AsyncClient(timeout=HTTP_TIMEOUT_S, trust_env=False) as http:
            yield Drill(
                cluster, plan, connection, Watch(plan, cluster.replicas, connection, http, logs), logs
            )
    finally:
        connection.terminate()
