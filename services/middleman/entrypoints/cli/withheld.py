"""`middleman withheld list|release`, with the owner's database URL."""

from typing import Annotated

import typer

from middleman.entrypoints.cli.owner import DatabaseUrl, DataDir, owner_url, with_database
from middleman.entrypoints.cli.saying import MISUSE, fail

app = typer.Typer(
    help="List subscriptions that are due and not billed for now, and release them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_withheld(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Print withheld subscriptions, the longest first: id, kind, since when, oldest unbilled period, reason."""
    from middleman.bootstrap import owner

    for row in with_database(owner.withheld(owner_url(database_url, data_dir))):
        print(
            f"{row.subscription_id}  {row.kind:<9}  since {row.since:%Y-%m-%d %H:%M:%S}"
            f"  due {row.next_due_at:%Y-%m-%d %H:%M:%S}  {row.reason}"
        )


@app.command()
def release(
    subscriptions: Annotated[list[str] | None, typer.Argument(help="Ids that `list` shows.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every withheld subscription.")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Bill withheld subscriptions from now on. What is overdue by now is caught up, one period after the other."""
    from middleman.bootstrap import owner

    if bool(subscriptions) == everything:
        fail("name the subscriptions to release, or give --all; see `middleman withheld list`", MISUSE)
    url = owner_url(database_url, data_dir)
    released = with_database(owner.release(url, None if everything else subscriptions))
    print(f"{released} subscriptions are billed from now on")
    if subscriptions and released < len(subscriptions):
        fail("the others are not withheld, or unknown here", MISUSE)
