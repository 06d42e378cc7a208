"""`middleman demo`."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from middleman.entrypoints.cli.attach import DEMO_DIR
from middleman.entrypoints.cli.saying import FAILED, INTERRUPTED, MISUSE, fail

if TYPE_CHECKING:
    from rich.console import Console

    from chaos.demo.scenario import Scenario
    from chaos.demo.stage import Outcome
    from cluster.spec import ClusterSpec


def demo(
    duration_s: Annotated[
        float | None,
        typer.Option(help="Stop after so many seconds, once all have subscribed; otherwise Ctrl-C."),
    ] = None,
    subscribers: Annotated[int, typer.Option(help="How many customers subscribe.")] = 2000,
    kill_leader_every_s: Annotated[float, typer.Option(help="SIGKILL the leader so often; 0: never.")] = 10.0,
    replicas: Annotated[int, typer.Option(help="How many replicas run, 1 to 9.")] = 3,
    seed: Annotated[int, typer.Option(help="Chooses the crowd: cards, currencies, time zones.")] = 1,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the verdict to this file as JSON.")
    ] = None,
    data_dir: Annotated[Path, typer.Option(help="Where the servers keep their data and logs.")] = DEMO_DIR,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the data of the run before.")] = False,
    svg: Annotated[Path | None, typer.Option(hidden=True, help="Save the last live frame.")] = None,
) -> None:
    """Charge subscribers, kill leaders, judge.

    Starts everything on this machine, brings subscribers in over the REST API, runs the test clock at about
    a month a minute, and prints the judge's verdict in the end, and whether all were charged as often as
    the clock says.

    Exit status 0 if the verdict holds and nobody was charged too often or too seldom, 1 if not, 2 on misuse.
    """
    from rich.console import Console

    from chaos.demo.scenario import Scenario
    from cluster.spec import ClusterSpec

    if not 1 <= replicas <= 9:
        fail(f"replicas={replicas}: must be from 1 to 9", MISUSE)
    for file in (json_file, svg):
        if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
            fail(f"cannot write {file}: name a file in a directory that exists", MISUSE)
    try:
        scenario = Scenario(
            subscribers=subscribers, duration_s=duration_s, kill_leader_every_s=kill_leader_every_s, seed=seed
        )
        spec = ClusterSpec(data_dir=data_dir, replicas=replicas, fresh=not keep)
    except ValueError as error:
        fail(str(error), MISUSE)
    console = Console()
    outcome = _run(spec, scenario, console, svg)
    if json_file is not None:
        json_file.write_text(json.dumps(outcome.to_json(), indent=2) + "\n")
    _print(outcome, console, spec)
    raise typer.Exit(0 if outcome.holds else FAILED)


def _run(spec: "ClusterSpec", scenario: "Scenario", console: "Console", svg: Path | None) -> "Outcome":
    from chaos.demo.rest_client import RestError
    from chaos.demo.show import show
    from chaos.judge.judging import CannotJudgeError
    from cluster.errors import ClusterError, DataDirLockedError

    try:
        return asyncio.run(show(spec, scenario, console, picture=svg))
    except DataDirLockedError as error:
        fail(str(error), MISUSE)
    except (ClusterError, RestError, CannotJudgeError, OSError) as error:
        fail(f"{error} (logs: {spec.data_dir / 'logs'})", FAILED)
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("given up: everything is stopped, nothing was judged", INTERRUPTED)


def _print(outcome: "Outcome", console: "Console", spec: "ClusterSpec") -> None:
    from chaos.report import run_summary, verdict_table

    console.print(verdict_table(outcome.verdict))
    console.print(run_summary(outcome))
    if not outcome.holds:
        console.print(f"The data and the logs of this run stay in {spec.data_dir} until the next.")
