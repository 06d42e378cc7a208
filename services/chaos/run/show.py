"""From the first server's start, or the first look at a stack that runs, to the report."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

from chaos.drive.compose_place import Place
from chaos.drive.compose_stack import compose_target
from chaos.drive.local import LocalTarget, Settings, local_spec
from chaos.interruption import interruptible
from chaos.reporting.run_report import RunReport
from chaos.run.plan import Plan
from chaos.run.runner import run
from cluster.cluster import Cluster

Say = Callable[[str], None]


def teller() -> Say:
    """Progress in lines on standard error, each with the seconds since the beginning."""
    began_s = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began_s:7.1f} s  {text}", file=sys.stderr, flush=True)

    return say


async def show_local(plan: Plan, data_dir: Path, *, say: Say | None = None) -> RunReport:
    """Play the plan on a cluster of its own on an empty `data_dir`, and stop it.

    Raises what starting a cluster and `run` raise. Ctrl-C or SIGTERM ends the scenario under way and goes on to the
    verdict; a second one, or one before the servers are up, gives up with `CancelledError`.
    """
    say = say or teller()
    settings: Settings = {}
    stop = asyncio.Event()
    with interruptible(stop) as allow_rest:
        async with Cluster(local_spec(data_dir, settings), progress=say) as cluster:
            allow_rest()
            report = await run(
                LocalTarget(cluster, settings), plan, target_name=plan.target, stop=stop, say=say
            )
            say("stopping the servers")
    return report


async def show_compose(plan: Plan, place: Place, *, say: Say | None = None) -> RunReport:
    """Play the plan on a compose stack that runs already, from inside it, and leave it running.

    Raises what `compose_target` and `run` raise. Ctrl-C and SIGTERM as for `show_local`.
    """
    say = say or teller()
    stop = asyncio.Event()
    with interruptible(stop) as allow_rest:
        async with compose_target(place) as target:
            allow_rest()
            say(f"the stack {place.project}: {len(target.replicas)} replicas, {len(target.apis)} of the API")
            return await run(target, plan, target_name=plan.target, stop=stop, say=say)
