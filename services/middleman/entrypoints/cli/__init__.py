"""`middleman`: one command for everything. Each subcommand imports what it needs when it is called."""

import sys

import typer

from middleman.entrypoints.cli import (
    api_key,
    bench,
    chaos,
    demo,
    judge,
    parked,
    processes,
    prune,
    up,
    withheld,
)
from middleman.entrypoints.cli.attach import forget_libpq_settings
from middleman.entrypoints.cli.output import write_plainly_where_needed

_STARTS_A_CLUSTER = ("demo", "up", "chaos", "bench")

app = typer.Typer(
    name="middleman",
    help="Charges every subscriber once for every billing period, whatever crashes, freezes or gets cut off.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("judge")(judge.judge)
app.command("up")(up.up)
app.command("migrate")(processes.migrate)
app.command("api")(processes.api)
app.command("replica")(processes.replica)
app.command("prune")(prune.prune)
app.add_typer(api_key.app, name="api-key")
app.add_typer(parked.app, name="parked")
app.add_typer(withheld.app, name="withheld")
app.add_typer(bench.app, name="bench")
app.add_typer(chaos.app, name="chaos")


def main(arguments: list[str] | None = None) -> None:
    """Entry point. Misuse is one line and exit status 2, never a stack trace or a page of usage."""
    write_plainly_where_needed()
    if (sys.argv[1:] if arguments is None else arguments)[:1] in ([each] for each in _STARTS_A_CLUSTER):
        forget_libpq_settings()
    try:
        status = app(args=arguments, standalone_mode=False)
    except typer.Exit as ended:
        status = ended.exit_code
    except (typer.Abort, KeyboardInterrupt):
        status = 130
    except typer.TyperException as misuse:
        explained = misuse.format_message()
        # Several lines are the help text, which a command without arguments asks for.
        print(explained if "\n" in explained else f"middleman: {explained}", file=sys.stderr)
        status = misuse.exit_code
    raise SystemExit(status if isinstance(status, int) else 0)
