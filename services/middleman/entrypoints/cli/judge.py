"""`middleman judge`."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from middleman.entrypoints.cli.attach import running_cluster
from middleman.entrypoints.cli.saying import FAILED, MISUSE, fail, or_from_file


def judge(
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,
    require_rest: Annotated[
        bool, typer.Option("--require-rest", help="Count work in flight as violations.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="The cluster to judge.")] = None,
    database_url: Annotated[
        str | None,
        typer.Option(envvar="MIDDLEMAN_JUDGE_DATABASE_URL", help="The books, as the role middleman_judge."),
    ] = None,
    ledger_url: Annotated[
        str | None, typer.Option(envvar="MIDDLEMAN_JUDGE_LEDGER_URL", help="The sandbox.")
    ] = None,
    admin_key: Annotated[
        str | None, typer.Option(envvar="MIDDLEMAN_JUDGE_ADMIN_KEY", help="The sandbox's admin key.")
    ] = None,
) -> None:
    """Judge a running system.

    Reads the processor's ledger and the database, and nothing else.

    Exit status 0 if the verdict holds, 1 if not, 2 when there is nothing to judge.
    """
    from chaos.judge.judging import CannotJudgeError, Sources
    from chaos.judge.judging import judge as pronounce

    database_url = or_from_file(database_url, "MIDDLEMAN_JUDGE_DATABASE_URL")
    admin_key = or_from_file(admin_key, "MIDDLEMAN_JUDGE_ADMIN_KEY")
    given = (database_url, ledger_url, admin_key)
    if any(given):
        if data_dir is not None:
            fail("give either --data-dir or the three of --database-url, --ledger-url, --admin-key", MISUSE)
        if not database_url or not ledger_url or not admin_key:
            fail("--database-url, --ledger-url and --admin-key belong together: give all three", MISUSE)
        sources = Sources(database_url, ledger_url, admin_key)
    else:
        state = running_cluster(data_dir)
        if state.sandbox is None:
            fail("this cluster charges at Stripe itself: the judge reads the sandbox's ledger only", MISUSE)
        sources = Sources(state.judge_database_url, state.sandbox.url, state.sandbox.admin_key)
    try:
        verdict = asyncio.run(pronounce(sources, require_rest=require_rest))
    except CannotJudgeError as error:
        fail(str(error), MISUSE)
    if as_json:
        print(json.dumps(verdict.to_json(), indent=2))
    else:
        from rich.console import Console

        from chaos.report import verdict_table

        Console().print(verdict_table(verdict))
    raise typer.Exit(0 if verdict.holds else FAILED)
