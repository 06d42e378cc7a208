"""One run from the first subscriber to the verdict, on a cluster that runs already."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chaos.demo.adversary import Adversary
from chaos.demo.crowd import bring_in, offer_plans
from chaos.demo.figures import ACTING, Figures, Takeover
from chaos.demo.observer import Observer
from chaos.demo.population import subscribers
from chaos.demo.rest import Unrest, come_to_rest
from chaos.demo.rest_client import RestClient
from chaos.demo.scenario import Scenario
from chaos.judge.judging import Sources, connect, judge
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster

if TYPE_CHECKING:
    import asyncpg

WORKERS = 16
CLOSING_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    verdict: Verdict
    scenario: Scenario
    subscribed: int
    canceled: int
    ran_s: float
    rested_s: float
    left_moving: str
    charged_per_s_peak: float
    takeovers: tuple[Takeover, ...]

    def to_json(self) -> dict[str, Any]:
        """The verdict, and beside it what was done to the system."""
        done = {
            "scenario": asdict(self.scenario),
            "subscribed": self.subscribed,
            "canceled": self.canceled,
            "ran_s": round(self.ran_s, 3),
            "rested_s": round(self.rested_s, 3),
            "left_moving": self.left_moving,
            "charged_per_s_peak": round(self.charged_per_s_peak, 1),
            "leaders_killed": len(self.takeovers),
            "takeovers": [
                asdict(each) | {"killed_at": each.killed_at.isoformat()} for each in self.takeovers
            ],
        }
        return self.verdict.to_json() | {"run": done}


async def perform(
    cluster: Cluster,
    scenario: Scenario,
    *,
    stop: asyncio.Event | None = None,
    figures: Figures | None = None,
    on_look: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run the scenario until its duration is over or `stop` is set, bring everything to rest, and judge.

    `figures` is kept up to date meanwhile, `on_look` called after each update. Raises `RestError` when the
    REST API refuses, `ClusterError` when a member cannot be restarted, `CannotJudgeError`.
    """
    figures = figures if figures is not None else Figures(scenario.subscribers)
    stop = stop if stop is not None else asyncio.Event()
    async with (
        RestClient(cluster.apis[0].url, cluster.keys.api_key, connections=WORKERS + 1) as client,
        _connection(cluster) as watching,
        _connection(cluster) as waiting,
    ):
        observer = Observer(watching, cluster.replicas, figures, on_look=on_look)
        began_s = time.monotonic()
        async with _beside(observer.run()):
            await _act(cluster, scenario, client, observer, figures, stop)
            stopped_s = time.monotonic()
            figures.phase = "stopping the clock"
            await client.set_test_clock(rate=0)
            figures.phase = "coming to rest: charging what fell due before the clock stopped"
            left = await come_to_rest(waiting, scenario.rest_timeout_s)
            figures.phase = "judging"
            rested_s = time.monotonic() - stopped_s
            await observer.look()
            verdict = await _judge(cluster)
            figures.phase = "judged"
    return _outcome(verdict, scenario, figures, stopped_s - began_s, rested_s, left)


async def _act(
    cluster: Cluster,
    scenario: Scenario,
    client: RestClient,
    observer: Observer,
    figures: Figures,
    stop: asyncio.Event,
) -> None:
    """Subscribers come in, leaders die; returns when it is time to stop."""
    await client.set_test_clock(rate=scenario.clock_rate)
    figures.phase = ACTING
    plan_ids = await offer_plans(client)
    adversary = Adversary(
        cluster.replicas,
        observer,
        figures,
        every_s=scenario.kill_leader_every_s,
        restart_after_s=scenario.restart_after_s,
    )
    closing = asyncio.Event()
    drafts = subscribers(scenario.subscribers, scenario.seed)
    crowd = asyncio.create_task(bring_in(client, plan_ids, drafts, figures, workers=WORKERS, closing=closing))
    tasks = {crowd, stopping := asyncio.create_task(stop.wait())}
    if scenario.kill_leader_every_s:
        tasks.add(asyncio.create_task(adversary.run()))
    try:
        await _until_stopped(tasks, stopping, scenario.duration_s)
        closing.set()
        await asyncio.wait_for(crowd, CLOSING_TIMEOUT_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    figures.phase = "waiting for the dead to come back"
    await adversary.finish()


async def _until_stopped(
    tasks: "set[asyncio.Task[Any]]", stopping: "asyncio.Task[Any]", duration_s: float | None
) -> None:
    """Return after the duration or when told to; raise what any of the tasks raised."""
    running = set(tasks)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(duration_s):
            while stopping in running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()


async def _judge(cluster: Cluster) -> Verdict:
    sources = Sources(cluster.judge_database_url, cluster.sandbox.url, cluster.sandbox.admin_key)
    return await judge(sources, require_rest=True)


def _outcome(
    verdict: Verdict, scenario: Scenario, figures: Figures, ran_s: float, rested_s: float, left: Unrest
) -> Outcome:
    return Outcome(
        verdict=verdict,
        scenario=scenario,
        subscribed=figures.subscribed,
        canceled=figures.canceled,
        ran_s=ran_s,
        rested_s=rested_s,
        left_moving=str(left) if left else "",
        charged_per_s_peak=figures.peak_charges_per_s,
        takeovers=tuple(figures.takeovers),
    )


@contextlib.asynccontextmanager
async def _connection(cluster: Cluster) -> "AsyncIterator[asyncpg.Connection[Any]]":
    connection = await connect(cluster.judge_database_url)
    try:
        yield connection
    finally:
        connection.terminate()


@contextlib.asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run `work` beside the body; should it fail, the body is cancelled and its failure raised."""
    body = asyncio.current_task()
    assert body is not None  # we run inside a task
    task = asyncio.create_task(work)

    def end_body(ended: "asyncio.Task[None]") -> None:
        if not ended.cancelled() and ended.exception() is not None:
            body.cancel()

    task.add_done_callback(end_body)
    try:
        yield
    except asyncio.CancelledError:
        if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
            body.uncancel()
            raise failure from None
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
