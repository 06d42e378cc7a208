"""From the first server's start to the report on disk."""

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
            report = await run(LocalTarget(cluster, settings), plan, target_name="local", stop=stop, say=say)
            say("stopping the servers")
    return report
