"""`middleman api-key create|list|revoke`, with the owner's database URL."""

from typing import TYPE_CHECKING, Annotated

import typer

from middleman.entrypoints.cli.owner import DatabaseUrl, DataDir, owner_url, with_database
from middleman.entrypoints.cli.saying import MISUSE, fail

if TYPE_CHECKING:
    from middleman.ports.api_keys import Scope

app = typer.Typer(
    help="Make, list and revoke keys of the REST API.", no_args_is_help=True, rich_markup_mode=None
)


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
    print(with_database(api_keys.create(owner_url(database_url, data_dir), name, scopes)))


@app.command("list")
def list_keys(database_url: DatabaseUrl = None, data_dir: DataDir = None) -> None:
    """Print the keys without their secrets: active ones first, newest first; at most a thousand."""
    from middleman.bootstrap import api_keys

    for key in with_database(api_keys.all_keys(owner_url(database_url, data_dir))):
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

    if not with_database(api_keys.revoke(owner_url(database_url, data_dir), key_id)):
        fail(f"{key_id}: no such key, or revoked already; see `middleman api-key list`", MISUSE)
