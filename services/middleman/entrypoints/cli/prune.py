"""`middleman prune`, with the owner's database URL."""

from datetime import timedelta
from typing import Annotated

import typer

from middleman.entrypoints.cli.owner import DatabaseUrl, DataDir, owner_url, with_database


def prune(
    events_older_than_days: Annotated[int, typer.Option(min=30, max=36_500, help="Which events go.")],
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Delete old events from the database's log.

    Ten thousand in each transaction; it may be interrupted and run again. Invoices, attempts and ledger entries stay.
    """
    from middleman.bootstrap import owner

    pruned = with_database(
        owner.prune(owner_url(database_url, data_dir), timedelta(days=events_older_than_days))
    )
    print(f"{pruned} events older than {events_older_than_days} days were deleted")
