"""`middleman bench …`: benchmarks, which live beside the load tests of a clone."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from middleman.settings import refuse

app = typer.Typer(help="Benchmarks: both sides in one run, and a ratio.", no_args_is_help=True)

_CLONE = Path(__file__).resolve().parents[4]


@app.callback()
def bench() -> None:
    """Benchmarks: both sides in one run, and a ratio."""


@app.command()
def billing(
    subscriptions: Annotated[
        int, typer.Option(min=100, max=1_000_000, help="Charges on either side")
    ] = 20_000,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Turns that the sides take")] = 5,
    concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Calls at once, on either side")] = 64,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file")] = None,
) -> None:
    """Charges settled per second by one leader, beside create + confirm through the bare SDK."""
    if not (_CLONE / "loadtest" / "billing_bench.py").is_file():
        refuse("bench billing runs from a clone: its benchmark lives in loadtest/, which is not installed")
    if subscriptions % rounds:
        refuse(f"--subscriptions {subscriptions} does not divide into --rounds {rounds} equal rounds")
    if json is not None and not json.absolute().parent.is_dir():
        refuse(f"--json {json}: its directory does not exist")
    sys.path.insert(0, str(_CLONE))
    from loadtest.billing_bench import run

    run(subscriptions, rounds, concurrency, json)
