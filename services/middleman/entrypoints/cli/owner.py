"""What commands share that work on the database as its owner."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from middleman.entrypoints.cli.attach import running_cluster
from middleman.entrypoints.cli.saying import FAILED, MISUSE, fail, or_from_file

T = TypeVar("T")

DatabaseUrl = Annotated[
    str | None, typer.Option(envvar="MIDDLEMAN_DATABASE_URL", help="The database, as its owner.")
]
DataDir = Annotated[Path | None, typer.Option(help="The running cluster whose database is meant.")]


def owner_url(database_url: str | None, data_dir: Path | None) -> str:
    """The URL that was given, by option, environment or file, or that of the running cluster."""
    given = or_from_file(database_url, "MIDDLEMAN_DATABASE_URL")
    return given or running_cluster(data_dir).superuser_database_url


def with_database(work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`; a database that cannot be used is one line and an exit status."""
    from sqlalchemy.exc import SQLAlchemyError

    from middleman.ports.store import StoreUnavailable

    try:
        return asyncio.run(work)
    except ValueError as error:
        fail(str(error), MISUSE)
    except (SQLAlchemyError, StoreUnavailable, OSError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fail(f"cannot use the database: {reason}", FAILED)
