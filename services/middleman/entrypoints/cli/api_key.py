"""`middleman api-key create|list|revoke`, with the owner's database URL."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from middleman.entrypoints.cli.attach import running_cluster
from middleman.entrypoints.cli.saying import FAILED, MISUSE, fail, or_from_file

if TYPE_CHECKING:
    from middleman.ports.api_keys import Scope

T = TypeVar("T")

app = typer.Typer(
    help="Make, list and revoke keys of the REST API.", no_args_is_help=True, rich_markup_mode=None
)

DatabaseUrl = Annotated[
    str | None, typer.Option(envvar="MIDDLEMAN_DATABASE_URL", help="The database, as its owner.")
]
DataDir = Annotated[Path | None, typer.Option(help="The running cluster whose database is meant.")]


@app.command()
def create(
    name: Annotated[str, typer.Option(help="Whose key it is.")],
    read_only: Annotated[bool, typer.Option("--read-only", help="Without the scope write.")] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """Print the secret of a new key. It is shown once."""
    from middleman.bootstrap import api_keys

    if not name.strip():
        fail("--name is empty: say whose key it is", MISUSE)
    scopes: list[Scope] = ["read"] if read_only else ["read", "write"]
    print(_with_database(api_keys.create(_url(database_url, data_dir), name, scopes)))


@app.command("list")
def list_keys(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Print every key without its secret, newest first."""
    from middleman.bootstrap import api_keys

    for key in _with_database(api_keys.all_keys(_url(database_url, data_dir))):
        state = f"revoked {key.revoked_at:%Y-%m-%d}" if key.revoked_at is not None else "active"
        print(f"{key.id}  {key.created_at:%Y-%m-%d}  {','.join(key.scopes):<10}  {state:<18}  {key.name}")


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that `list` shows.")],
    database_url: DatabaseUrl = None,
    data_dir: DataDir = None,
) -> None:
    """End a key; the API notices within seconds."""
    from middleman.bootstrap import api_keys

    if not _with_database(api_keys.revoke(_url(database_url, data_dir), key_id)):
        fail(f"{key_id}: no such key, or revoked already; see `middleman api-key list`", MISUSE)


def _url(database_url: str | None, data_dir: Path | None) -> str:
    given = or_from_file(database_url, "MIDDLEMAN_DATABASE_URL")
    return given or running_cluster(data_dir).superuser_database_url


def _with_database(work: Coroutine[Any, Any, T]) -> T:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return asyncio.run(work)
    except ValueError as error:
        fail(str(error), MISUSE)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        fail(f"cannot use the database: {reason}", FAILED)
