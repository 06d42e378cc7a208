"""Bring a database to the newest schema, set the roles' passwords and the first API key."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from alembic import command, op
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from middleman.adapters.postgres.engine import OwnerSession
from middleman.adapters.postgres.roles import CannotMigrate, RoleNames

MIGRATIONS = Path(__file__).resolve().parents[4] / "migrations"
# Any number that only migrations use: two migrate commands started at once run one after the other.
_MIGRATION_LOCK = 0x4D1DD1E
# How long a statement waits for a lock, and all later readers and writers of that table behind it.
_LOCK_TIMEOUT = "3s"
_TRANSACTION_TIMEOUT_SINCE = 170_000


class MigrationLocked(Exception):
    """A lock was not to be had in time: another session, or another migrate, holds it. Nothing was changed."""


async def begin_migration(connection: AsyncConnection) -> None:
    """Check what every migration relies on, and let this transaction take as long as it needs, but wait for no lock.

    Raises `CannotMigrate` and `MigrationLocked`.
    """
    row = (
        await connection.execute(
            text(
                "SELECT current_database() AS name, current_schema() AS schema, pg_is_in_recovery() AS standby,"
                " pg_encoding_to_char(encoding) AS encoding, current_setting('search_path') AS search_path,"
                " current_setting('server_version_num')::integer AS version"
                " FROM pg_database WHERE datname = current_database()"
            )
        )
    ).one()
    if row.encoding != "UTF8":
        raise CannotMigrate(
            f"the database {row.name} has the encoding {row.encoding}, which cannot hold every name: create it with "
            "ENCODING 'UTF8' TEMPLATE template0"
        )
    if row.schema != "public":
        raise CannotMigrate(
            f"search_path is {row.search_path}, so that tables would be made in {row.schema or 'no schema'}; Middleman's "
            "are in public: take what stands before it out of the search_path of this database and of its owner's role"
        )
    await connection.execute(text("SET LOCAL search_path = public, pg_temp"))
    # A long index build is no reason to end it; a statement that waits for a lock holds up everybody behind it.
    await connection.execute(text("SET LOCAL statement_timeout = 0"))
    await connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
    if row.version >= _TRANSACTION_TIMEOUT_SINCE:
        await connection.execute(text("SET LOCAL transaction_timeout = 0"))
    await connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    if not await connection.scalar(
        text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK}
    ):
        raise MigrationLocked("another migrate is at work in this database")


async def database_name(connection: AsyncConnection) -> str:
    """The name of the database that this session is in."""
    return str(await connection.scalar(text("SELECT current_database()")))


async def upgrade_to_head(connection: AsyncConnection, names: RoleNames | None = None) -> None:
    """Run all outstanding migrations in the connection's transaction (all or nothing), for roles of these names."""
    session = (await connection.get_raw_connection()).driver_connection
    assert isinstance(session, OwnerSession), "migrations run on a session of owner_engine"
    session.rewrite = (names or RoleNames()).in_sql
    try:
        await connection.run_sync(_upgrade)
    finally:
        session.rewrite = None


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def run_sql(script: Path) -> None:
    """For a migration: run a file of SQL on the connection that Alembic has."""
    # A prepared statement holds one command, and the file holds many: hand it to the driver as it is.
    driver = op.get_bind().connection.dbapi_connection
    assert driver is not None, "migrations run on an open connection"
    sql = script.read_text()
    driver.run_async(lambda session: session.execute(sql))


async def order_restored_events(connection: AsyncConnection) -> list[str]:
    """Give events that were restored from a dump a place before all that this server writes. Returns notes.

    They kept the transaction ids of another server. Where those are higher than this server's, the log would end before
    them, and what is written now would be listed before what is older. With '0' they keep their order by seq.
    """
    foreign = text("SELECT EXISTS (SELECT FROM events WHERE xact_id > pg_current_xact_id())")
    if not await connection.scalar(foreign):
        return []
    await connection.execute(text("ALTER TABLE events DISABLE TRIGGER events_append_only"))
    moved = await connection.execute(text("UPDATE events SET xact_id = '0' WHERE xact_id <> '0'"))
    await connection.execute(text("ALTER TABLE events ENABLE TRIGGER events_append_only"))
    return [
        f"{moved.rowcount} events have transaction ids of another server: ordered by seq, before all new ones"
    ]


async def set_role_passwords(connection: AsyncConnection, passwords: Mapping[str, str]) -> None:
    """Set `{role name: password}`. The server sees the text once, over this connection, and keeps a SCRAM verifier."""
    for role, password in passwords.items():
        statement = await connection.scalar(
            text("SELECT format('ALTER ROLE %I PASSWORD %L', CAST(:role AS text), CAST(:password AS text))"),
            {"role": role, "password": password},
        )
        try:
            await connection.exec_driver_sql(statement)
        except DBAPIError as error:
            raise error.orig or error from None  # whose text does not repeat the statement with the password


async def set_environment(connection: AsyncConnection, environment: Literal["production", "test"]) -> None:
    """Say what this database is for. The test clock works in a `test` database only."""
    await connection.execute(
        text("UPDATE deployment SET environment = :environment"), {"environment": environment}
    )


async def ensure_api_key(connection: AsyncConnection, secret: str, name: str) -> None:
    """Store the hash of a read-write API key, once."""
    digest = hashlib.sha256(secret.encode()).digest()
    await connection.execute(
        text(
            "INSERT INTO api_keys (id, name, key_sha256, scopes) VALUES (:id, :name, :digest, '{read,write}')"
            " ON CONFLICT (key_sha256) DO NOTHING"
        ),
        {"id": f"key_{digest.hex()[:16]}", "name": name, "digest": digest},
    )
