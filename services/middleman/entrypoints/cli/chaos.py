"""`middleman chaos …`: faults on purpose, figures, and a verdict."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from middleman.entrypoints.cli import chaos_run, prove
from middleman.entrypoints.cli.attach import HOME
from middleman.entrypoints.cli.saying import FAILED, INTERRUPTED, MISUSE, fail

if TYPE_CHECKING:
    from chaos.failover.plan import Plan
    from chaos.failover.report import Report

FAILOVER_DIR = HOME / "failover"

app = typer.Typer(help="Faults on purpose, figures, and a verdict.", no_args_is_help=True)


app.command("run")(chaos_run.run)
app.command("prove-judge")(prove.prove_judge)


@app.callback()
def chaos() -> None:
    """Faults on purpose, figures, and a verdict."""


@app.command()
def failover(
    kind: Annotated[
        Literal["crash", "freeze", "graceful", "partition"],
        typer.Option(help="What happens to the leader: SIGKILL, SIGSTOP, SIGTERM, or cut off from etcd."),
    ] = "crash",
    runs: Annotated[int, typer.Option(help="How often, on each path.")] = 20,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every run and the verdict to this file.")
    ] = None,
    replicas: Annotated[int, typer.Option(help="How many replicas run, 2 to 9.")] = 3,
    lease_only: Annotated[
        bool,
        typer.Option(
            "--lease-only/--both",
            help="Only with the pulse switched off; otherwise a crash is measured with the pulse and without.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Chooses the moments of the faults.")] = 1,
    data_dir: Annotated[
        Path, typer.Option(help="Where the servers keep their data and logs; emptied first.")
    ] = FAILOVER_DIR,
) -> None:
    """Measure how long nobody charges when the leader is lost.

    Starts everything on this machine, keeps about a hundred charges a second falling due, and takes the leader
    away again and again: from the fault to the first charge that its successor settles. In the end the judge
    looks at all of it. Ctrl-C ends the measurement early, and is judged as well.

    Exit status 0 if every run came to its end and the verdict holds, 1 if not, 2 on misuse.
    """
    from chaos.failover.plan import Kind, Plan

    if json_file is not None and (json_file.is_dir() or not json_file.absolute().parent.is_dir()):
        fail(f"cannot write {json_file}: name a file in a directory that exists", MISUSE)
    try:
        plan = Plan(kind=Kind(kind), runs=runs, replicas=replicas, lease_only=lease_only, seed=seed)
    except ValueError as error:
        fail(str(error), MISUSE)
    report = _measure(plan, data_dir)
    if json_file is not None:
        json_file.write_text(json.dumps(report.to_json(), indent=2) + "\n")
    _print(report, data_dir)
    raise typer.Exit(0 if report.holds else FAILED)


def _measure(plan: "Plan", data_dir: Path) -> "Report":
    from chaos.demo.rest_client import RestError
    from chaos.failover.show import show
    from chaos.judge.judging import CannotJudgeError
    from cluster.errors import ClusterError, DataDirLockedError

    try:
        return asyncio.run(show(plan, data_dir))
    except DataDirLockedError as error:
        fail(str(error), MISUSE)
    except (ClusterError, RestError, CannotJudgeError, OSError) as error:
        fail(f"{error} (logs: {data_dir / 'logs'})", FAILED)
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("given up: everything is stopped, nothing was judged", INTERRUPTED)


def _print(report: "Report", data_dir: Path) -> None:
    from rich.console import Console

    from chaos.failover.report import figures
    from chaos.report import verdict_table

    console = Console()
    console.print(figures(report))
    console.print(verdict_table(report.verdict))
    if not report.holds:
        console.print(f"The data and the logs of this measurement stay in {data_dir} until the next.")
