"""One run from the first subscriber to the verdict, on a cluster that runs already."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from chaos.demo.acting import WORKERS, act
from chaos.demo.figures import Figures, Takeover
from chaos.demo.observer import Observer
from chaos.demo.rest import come_to_rest
from chaos.demo.rest_client import RestClient
from chaos.demo.scenario import Scenario
from chaos.demo.tally import Tally, tally
from chaos.demo.tasks import beside
from chaos.judge.judging import Sources, connect, judge_snapshot, read_sides
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster

if TYPE_CHECKING:
    import asyncpg


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    verdict: Verdict
    tally: Tally
    scenario: Scenario
    subscribed: int
    canceled: int
    ran_s: float
    rested_s: float
    left_moving: str
    charged_per_s_peak: float
    takeovers: tuple[Takeover, ...]
    stopped_early: bool

    @property
    def everybody_is_in(self) -> bool:
        """Whether all subscribed who were to; who stops a run early wants no more of them."""
        return self.stopped_early or self.subscribed == self.scenario.subscribers

    @property
    def holds(self) -> bool:
        """The verdict, and that the crowd was let in and charged exactly as often as the clock says."""
        return self.verdict.holds and self.tally.is_exact and self.everybody_is_in

    def to_json(self) -> dict[str, Any]:
        """The verdict, and beside it what was done to the system."""
        done = {
            "scenario": asdict(self.scenario),
            "subscribed": self.subscribed,
            "canceled": self.canceled,
            "ran_s": round(self.ran_s, 3),
            "rested_s": round(self.rested_s, 3),
            "left_moving": self.left_moving,
            "tally": self.tally.to_json(),
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
        async with beside(observer.run()):
            await act(cluster.replicas, scenario, client, observer, figures, stop)
            stopped_s = time.monotonic()
            figures.phase = "stopping the clock"
            await client.set_test_clock(rate=0)
            figures.phase = "coming to rest: charging what fell due before the clock stopped"
            left = await come_to_rest(waiting, scenario.rest_timeout_s)
            figures.phase = "judging"
            rested_s = time.monotonic() - stopped_s
            await observer.look()
            verdict, sum_of_it = await _judge(cluster, figures.declines)
            figures.phase = "judged"
    return Outcome(
        verdict=verdict,
        tally=sum_of_it,
        scenario=scenario,
        subscribed=figures.subscribed,
        canceled=figures.canceled,
        ran_s=stopped_s - began_s,
        rested_s=rested_s,
        left_moving=str(left) if left else "",
        charged_per_s_peak=figures.peak_charges_per_s,
        takeovers=tuple(figures.takeovers),
        stopped_early=stop.is_set(),
    )


async def _judge(cluster: Cluster, declines: Mapping[str, bool]) -> tuple[Verdict, Tally]:
    """Both from one look at the two sides."""
    sources = Sources(cluster.judge_database_url, cluster.sandbox.url, cluster.sandbox.admin_key)
    ledger, books = await read_sides(sources)
    verdict = await asyncio.to_thread(judge_snapshot, ledger, books, require_rest=True)
    return verdict, await asyncio.to_thread(tally, ledger, books, declines)


@contextlib.asynccontextmanager
async def _connection(cluster: Cluster) -> "AsyncIterator[asyncpg.Connection[Any]]":
    connection = await connect(cluster.judge_database_url)
    try:
        yield connection
    finally:
        connection.terminate()
