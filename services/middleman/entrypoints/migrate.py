"""`python -m middleman.entrypoints.migrate`: one shot, run before the other processes start.

Brings the schema to the newest version, makes this database's roles and sets their passwords, says which environment the
database belongs to, and stores the first API key when one is given. Idempotent: run it at every start.
Exit status 0 done, 1 the database is away or a lock was not to be had, 2 misconfigured.
"""

import asyncio
import random
import sys
import time

from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.errors import sqlstate
from middleman.adapters.postgres.migrate import (
    MigrationLocked,
    begin_migration,
    database_name,
    ensure_api_key,
    order_restored_events,
    set_environment,
    set_role_passwords,
    upgrade_to_head,
)
from middleman.adapters.postgres.roles import (
    CannotMigrate,
    RoleNames,
    finish_roles,
    prepare_roles,
)
from middleman.entrypoints.startup import run_to_exit
from middleman.settings import MigrateSettings, load, refuse

_LOCK_NOT_AVAILABLE = "55P03"
_PAUSE_S = (0.5, 5.0)
_WHO_HOLDS_IT = (
    "SELECT pid, usename, application_name, xact_start, query FROM pg_stat_activity"
    " WHERE xact_start IS NOT NULL ORDER BY xact_start"
)


async def migrate(settings: MigrateSettings) -> list[str]:
    """All of it in one transaction: a failure leaves the database as it was. Returns what an operator should know.

    A lock that is not to be had within seconds is given up, with all that the transaction holds, so that the sessions
    behind it go on; then the whole is tried again, until `MIDDLEMAN_MIGRATE_PATIENCE_S` is over.
    Raises `CannotMigrate` and `MigrationLocked`.
    """
    engine = owner_engine(settings.database_url.get_secret_value())
    deadline = time.monotonic() + settings.migrate_patience_s
    pause_s, longest_s = _PAUSE_S
    try:
        while True:
            try:
                return await _migrate_once(engine, settings)
            except MigrationLocked as error:
                reason = str(error)
            except Exception as error:
                if sqlstate(error) != _LOCK_NOT_AVAILABLE:
                    raise
                reason = "another session holds a lock on a table that has to change"
            wait_s = random.uniform(pause_s / 2, pause_s)  # noqa: S311  # jitter, no secret
            if time.monotonic() + wait_s > deadline:
                raise MigrationLocked(reason)
            await asyncio.sleep(wait_s)
            pause_s = min(longest_s, 2 * pause_s)
    finally:
        await engine.dispose()


async def _migrate_once(engine: AsyncEngine, settings: MigrateSettings) -> list[str]:
    async with engine.begin() as connection:
        await begin_migration(connection)
        names = RoleNames(settings.db_role_prefix or await database_name(connection))
        notes = await prepare_roles(connection, names, settings.db_retire_roles)
        await upgrade_to_head(connection, names)
        notes += await finish_roles(connection, names)
        notes += await order_restored_events(connection)
        passwords = {
            names.of("api"): settings.db_password_api,
            names.of("replica"): settings.db_password_replica,
            names.of("judge"): settings.db_password_judge,
        }
        await set_role_passwords(
            connection, {role: secret.get_secret_value() for role, secret in passwords.items()}
        )
        await set_environment(connection, settings.environment)
        if settings.bootstrap_api_key is not None:
            await ensure_api_key(connection, settings.bootstrap_api_key.get_secret_value(), "bootstrap")
    return notes


def _run(settings: MigrateSettings) -> None:
    try:
        notes = asyncio.run(migrate(settings))
    except CannotMigrate as error:
        refuse(f"MIDDLEMAN_DATABASE_URL: {error}")
    except MigrationLocked as error:
        told = f"{error}; nothing was changed. {_WHO_HOLDS_IT} names the holder; then run migrate again"
        print(f"middleman migrate: {told}", file=sys.stderr)
        raise SystemExit(1) from None
    for note in notes:
        print(f"middleman migrate: note: {note}", file=sys.stderr)


def main() -> None:
    """Entry point of the process."""
    settings = load(MigrateSettings)
    run_to_exit("migrate", settings.log_format, lambda: _run(settings))


if __name__ == "__main__":
    main()
