"""Bring a database to the newest schema, set the roles' passwords and the first API key."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

MIGRATIONS = Path(__file__).resolve().parents[4] / "migrations"
# Any number that only migrations use: two migrate commands started at once run one after the other.
_MIGRATION_LOCK = 0x4D1DD1E


async def upgrade_to_head(connection: AsyncConnection) -> None:
    """Run all outstanding migrations in the connection's transaction (all or nothing)."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
    await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


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
