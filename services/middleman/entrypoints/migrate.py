"""`python -m middleman.entrypoints.migrate`: one shot, run before the other processes start.

Brings the schema to the newest version, sets the roles' passwords, says which environment the
database belongs to, and stores the first API key when one is given. Idempotent: run it at every start.
Exit status 0 done, 1 the database is away, 2 misconfigured.
"""

import asyncio

from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.migrate import (
    ensure_api_key,
    set_environment,
    set_role_passwords,
    upgrade_to_head,
)
from middleman.entrypoints.startup import run_to_exit
from middleman.settings import MigrateSettings, load


async def migrate(settings: MigrateSettings) -> None:
    """Do all of it in one transaction: a failure leaves the database as it was."""
    engine = owner_engine(settings.database_url.get_secret_value())
    try:
        async with engine.begin() as connection:
            await upgrade_to_head(connection)
            passwords = {
                "middleman_api": settings.db_password_api,
                "middleman_replica": settings.db_password_replica,
                "middleman_judge": settings.db_password_judge,
            }
            await set_role_passwords(
                connection, {role: secret.get_secret_value() for role, secret in passwords.items()}
            )
            await set_environment(connection, settings.environment)
            if settings.bootstrap_api_key is not None:
                await ensure_api_key(connection, settings.bootstrap_api_key.get_secret_value(), "bootstrap")
    finally:
        await engine.dispose()


def main() -> None:
    """Entry point of the process."""
    settings = load(MigrateSettings)
    run_to_exit("migrate", settings.log_format, lambda: asyncio.run(migrate(settings)))


if __name__ == "__main__":
    main()
