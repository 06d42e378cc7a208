"""`middleman chaos run`."""

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from middleman.entrypoints.cli.attach import HOME
from middleman.entrypoints.cli.chaos_container import in_container
from middleman.entrypoints.cli.saying import FAILED, INTERRUPTED, MISUSE, fail

if TYPE_CHECKING:
    from chaos.reporting.run_report import RunReport
    from chaos.run.plan import Plan

CHAOS_DIR = HOME / "chaos"
SHOWN_DIR = "MIDDLEMAN_CHAOS_REPORT_DIR"
"""Where the report lies for whoever reads the last line: in a container that is another path than where it is written."""


def run(
    scenario: Annotated[
        str,
        typer.Option(
            help="A scenario's name, several as a,b,c, `all`, or `random`: a mix drawn from the seed."
        ),
    ] = "all",
    seed: Annotated[int, typer.Option(help="Chooses victims, moments, and the random mix.")] = 1,
    duration_s: Annotated[
        float | None, typer.Option(help="How long the random mix lasts; 60 if nothing is said.")
    ] = None,
    target: Annotated[
        Literal["local", "compose"],
        typer.Option(help="A cluster of its own on this machine, or the stack that docker compose runs."),
    ] = "local",
    report_dir: Annotated[
        Path, typer.Option("--report", help="Where report.json, report.html and timeline.svg are written.")
    ] = CHAOS_DIR / "report",
    data_dir: Annotated[
        Path, typer.Option(help="Where the local servers keep their data and logs; emptied first.")
    ] = CHAOS_DIR,
    list_scenarios: Annotated[
        bool, typer.Option("--list", help="Name the scenarios, and play none.")
    ] = False,
) -> None:
    """Hurt a system that works, in every way we can think of, and ask the judge.

    Starts everything on this machine, or takes the compose stack that runs, keeps customers subscribing and about
    forty charges a second falling due, and plays one scenario after the other: each injects its faults, has to see
    them bite, comes to rest, and is judged. Ctrl-C ends the run early, and is judged as well.

    Exit status 0 if every scenario passed and the verdict holds, 1 if not, or if it was interrupted before, 2 on misuse.
    Of `all` a scenario that cannot be played here is skipped with its reason; one that was asked for by name fails then.
    """
    from chaos.run.plan import Plan

    if list_scenarios:
        _list()
        return
    if report_dir.exists() and not report_dir.is_dir():
        fail(f"cannot write into {report_dir}: name a directory", MISUSE)
    try:
        plan = Plan(scenario=scenario, seed=seed, duration_s=duration_s, target=target)
    except ValueError as error:
        fail(str(error), MISUSE)
    report = _played(plan, data_dir) if target == "local" else _played_inside(plan, report_dir)
    _write(report, report_dir)
    raise typer.Exit(0 if report.holds else FAILED)


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    from chaos.scenarios.catalogue import SCENARIOS

    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    for column in ("group", "scenario", "shows"):
        table.add_column(column, no_wrap=column != "shows")
    for each in SCENARIOS:
        table.add_row(each.group, each.name, each.shows)
    Console().print(table)


def _played(plan: "Plan", data_dir: Path) -> "RunReport":
    from chaos.judge.judging import CannotJudgeError
    from chaos.run.show import show_local
    from chaos.workload.workload import WorkloadError
    from cluster.errors import ClusterError, DataDirLockedError

    try:
        return asyncio.run(show_local(plan, data_dir))
    except DataDirLockedError as error:
        fail(str(error), MISUSE)
    except (ClusterError, WorkloadError, CannotJudgeError, OSError) as error:
        fail(f"{error} (logs: {data_dir / 'logs'})", FAILED)
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("given up: everything is stopped, nothing was judged", INTERRUPTED)


def _played_inside(plan: "Plan", report_dir: Path) -> "RunReport":
    """On the compose stack: inside its container `chaos` here and now, elsewhere by running that container."""
    from chaos.drive.compose_place import PROJECT, Place
    from chaos.drive.target import TargetError
    from chaos.judge.judging import CannotJudgeError
    from chaos.run.show import show_compose
    from chaos.workload.workload import WorkloadError
    from cluster.errors import ClusterError

    if PROJECT not in os.environ:
        in_container(plan, report_dir)
    try:
        return asyncio.run(show_compose(plan, Place.from_environment()))
    except TargetError as error:
        fail(str(error), MISUSE)
    except (ClusterError, WorkloadError, CannotJudgeError, OSError) as error:
        fail(f"{error} (logs: docker compose logs)", FAILED)
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("given up: the stack was left whole, nothing was judged", INTERRUPTED)


def _write(report: "RunReport", directory: Path) -> None:
    from rich.console import Console

    from chaos.reporting.summary import summary
    from chaos.reporting.write import write_report

    console = Console()
    console.print(summary(report))
    try:
        written = write_report(report, directory)
    except OSError as error:
        fail(f"cannot write the report into {directory}: {error}", FAILED)
    shown = Path(os.environ.get(SHOWN_DIR, directory))
    names = ", ".join(str(shown / path.name) for path in (written.html, written.json, written.svg))
    console.print(f"The report: {names}", soft_wrap=True)
