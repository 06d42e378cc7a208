"""The middle of a run: subscribers come in, leaders die, the dead come back."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from chaos.demo.adversary import Adversary
from chaos.demo.crowd import Doors, bring_in, offer_plans
from chaos.demo.figures import ACTING, Figures
from chaos.demo.observer import Observer
from chaos.demo.population import subscribers
from chaos.demo.rest_client import RestClient
from chaos.demo.scenario import Scenario
from chaos.demo.tasks import beside
from cluster.process import ManagedProcess

WORKERS = 16
CLOSING_TIMEOUT_S = 30.0
LATE_TIMEOUT_S = 120.0


async def act(
    replicas: Sequence[ManagedProcess],
    scenario: Scenario,
    client: RestClient,
    observer: Observer,
    figures: Figures,
    stop: asyncio.Event,
) -> None:
    """Returns when it is time to come to rest: everybody asked for is in, every replica runs."""
    await client.set_test_clock(rate=scenario.clock_rate)
    figures.phase = ACTING
    plan_ids = await offer_plans(client)
    adversary = Adversary(replicas, observer, figures, restart_after_s=scenario.restart_after_s)
    doors = Doors()
    drafts = subscribers(scenario.subscribers, scenario.seed)
    crowd = asyncio.create_task(bring_in(client, plan_ids, drafts, figures, workers=WORKERS, doors=doors))
    stopping = asyncio.create_task(stop.wait())
    killing = asyncio.create_task(adversary.kill_every(scenario.kill_leader_every_s))
    try:
        async with beside(adversary.revive()):
            await _until_stopped({crowd, stopping, killing}, stopping, scenario.duration_s)
            killing.cancel()
            figures.phase = "letting the last subscribers in"
            await _until_everybody_is_in(crowd, stopping, doors)
            doors.closing.set()
            await asyncio.wait_for(crowd, CLOSING_TIMEOUT_S)
        figures.phase = "waiting for the dead to come back"
        await adversary.finish()
    finally:
        adversary.abandon()
        for task in (crowd, stopping, killing):
            task.cancel()
        await asyncio.gather(crowd, stopping, killing, return_exceptions=True)


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


async def _until_everybody_is_in(
    crowd: "asyncio.Task[None]", stopping: "asyncio.Task[Any]", doors: Doors
) -> None:
    """A slow machine gets more time to bring the crowd in, but not for ever, and not if told to stop."""
    everybody_in = asyncio.create_task(doors.everybody_in.wait())
    await asyncio.wait(
        {crowd, stopping, everybody_in}, timeout=LATE_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
    )
    everybody_in.cancel()
