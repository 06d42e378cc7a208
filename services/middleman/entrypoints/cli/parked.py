"""`middleman parked list|retry`, with the owner's database URL."""

from typing import Annotated

import typer

from middleman.entrypoints.cli.owner import DatabaseUrl, DataDir, owner_url, with_database
from middleman.entrypoints.cli.saying import MISUSE, fail

app = typer.Typer(
    help="List attempts that wait for an answer of the processor, and try them again at once.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list")
def list_parked(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Print parked attempts, the oldest first: id, age, reason, next try, payment intent."""
    from middleman.bootstrap import owner

    for row in with_database(owner.parked(owner_url(database_url, data_dir))):
        print(
            f"{row.attempt_id}  since {row.created_at:%Y-%m-%d %H:%M:%S}  {row.reason:<24}"
            f"  try {row.parked_count + 1} at {row.parked_until:%Y-%m-%d %H:%M:%S}  {row.payment_intent_id or '-'}"
        )


@app.command()
def retry(
    attempts: Annotated[list[str] | None, typer.Argument(help="Ids that `list` shows.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every parked attempt.")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Let parked attempts be due for a try now. The leader takes them a few at a time."""
    from middleman.bootstrap import owner

    if bool(attempts) == everything:
        fail("name the attempts to try again, or give --all; see `middleman parked list`", MISUSE)
    url = owner_url(database_url, data_dir)
    retried = with_database(owner.retry_parked(url, None if everything else attempts))
    print(f"{retried} parked attempts are due for a try now")
    if attempts and retried < len(attempts):
        fail("the others are not parked: settled, at work, or unknown here", MISUSE)
