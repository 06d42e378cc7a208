"""Each database has roles of its own: migrating one neither opens another nor changes a password of it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from tests.integration.postgres.test_migrate_command import migrate
from tests.support.database import PASSWORD
from tests.support.processes import run_middleman

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.migrate import upgrade_to_head
from middleman.adapters.postgres.roles import CannotMigrate, RoleNames

KINDS = ("api", "replica", "judge")
ALL_RIGHTS = """
    SELECT 'relation ' || c.relname || ' ' || a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
    WHERE a.grantee = $1::regrole
    UNION ALL SELECT 'column ' || t.attrelid::regclass || '.' || t.attname || ' ' || a.privilege_type
    FROM pg_attribute t, aclexplode(t.attacl) a WHERE a.grantee = $1::regrole
    UNION ALL SELECT 'function ' || p.oid::regprocedure || ' ' || a.privilege_type
    FROM pg_proc p, aclexplode(p.proacl) a WHERE a.grantee = $1::regrole
    UNION ALL SELECT 'schema ' || n.nspname || ' ' || a.privilege_type
    FROM pg_namespace n, aclexplode(n.nspacl) a WHERE a.grantee = $1::regrole
"""
SETTINGS = "SELECT unnest(setconfig) FROM pg_db_role_setting WHERE setrole = $1::regrole AND setdatabase = 0"


@pytest_asyncio.fixture(loop_scope="session")
async def server(server_root: Path) -> AsyncIterator[PostgresServer]:
    """A server of its own: roles belong to the server."""
    async with PostgresServer(server_root / f"roles-{secrets.token_hex(3)}") as running:
        yield running


@asynccontextmanager
async def session(
    server: PostgresServer, user: str, database: str, password: str = PASSWORD
) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(server.dsn(user=user, password=password, database=database))
    try:
        yield connection
    finally:
        await connection.close()


async def of_the_release_before(server: PostgresServer, name: str) -> str:
    """A database as the release before left it: `middleman_…` roles, and everybody may connect."""
    url = await server.create_database(name)
    owner = owner_engine(url)
    async with owner.begin() as connection:
        for kind in KINDS:
            await connection.exec_driver_sql(
                f"DO $$ BEGIN CREATE ROLE middleman_{kind} LOGIN; EXCEPTION WHEN duplicate_object THEN END $$"
            )
        await upgrade_to_head(connection)
        for kind in KINDS:
            await connection.exec_driver_sql(f"ALTER ROLE middleman_{kind} PASSWORD '{PASSWORD}'")
    await owner.dispose()
    return url


async def test_a_second_database_neither_opens_the_first_nor_changes_its_passwords(
    server: PostgresServer, tmp_path: Path
) -> None:
    production = server.dsn(database="middleman")
    staging = await server.create_database("staging")
    assert migrate(production, tmp_path, role_prefix="") == (0, "")
    other = {f"MIDDLEMAN_DB_PASSWORD_{kind.upper()}": "another-password" for kind in KINDS}
    assert migrate(staging, tmp_path, role_prefix="", **other) == (0, "")

    for kind in KINDS:
        async with session(server, f"middleman_{kind}", "middleman") as role:
            await role.fetch("SELECT * FROM plans")
        async with session(server, f"staging_{kind}", "staging", "another-password") as role:
            await role.fetch("SELECT * FROM plans")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            async with session(server, f"staging_{kind}", "middleman", "another-password"):
                pass
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            async with session(server, f"middleman_{kind}", "staging"):
                pass


async def test_the_roles_of_every_database_have_the_same_rights_and_settings(
    server: PostgresServer, tmp_path: Path
) -> None:
    name = "Odd-Name$1"
    url = await server.create_database(name)
    assert migrate(server.dsn(), tmp_path, role_prefix="") == (0, "")
    assert migrate(url, tmp_path, role_prefix="") == (0, "")
    for kind in KINDS:
        first, second = await server.connect(), await server.connect(name)
        for query in (ALL_RIGHTS, SETTINGS):
            expected = sorted(row[0] for row in await first.fetch(query, f"middleman_{kind}"))
            assert sorted(row[0] for row in await second.fetch(query, f'"{name}_{kind}"')) == expected
            assert expected
        assert "jit=off" in [row[0] for row in await first.fetch(SETTINGS, f"middleman_{kind}")]
        assert not await second.fetch(ALL_RIGHTS, f"middleman_{kind}")
        await first.close()
        await second.close()


async def test_a_database_of_the_release_before_keeps_its_processes_until_the_old_roles_are_retired(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = await of_the_release_before(server, "billing")
    status, told = migrate(url, tmp_path, role_prefix="")
    assert (status, told.count("\n")) == (0, 1), told
    assert "billing_api, billing_replica, billing_judge" in told
    assert "MIDDLEMAN_DB_RETIRE_ROLES=middleman" in told
    for user in ("middleman", "billing"):
        async with session(server, f"{user}_api", "billing") as api, api.transaction():
            await api.execute("INSERT INTO plans (id, name, amount_minor, currency, interval_unit, interval_count)"
                              f" VALUES ('pl_{user}', 'x', 100, 'EUR', 'month', 1)")  # fmt: skip
        async with session(server, f"{user}_replica", "billing") as replica:
            await replica.fetch("SELECT * FROM take_office(0::smallint, $1, 1, gen_random_uuid())", user)

    assert migrate(url, tmp_path, role_prefix="", MIDDLEMAN_DB_RETIRE_ROLES="middleman") == (0, "")
    async with session(server, "billing_replica", "billing") as replica:
        await replica.fetch("SELECT * FROM take_office(0::smallint, 'x', 1, gen_random_uuid())")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with session(server, "middleman_api", "billing"):
            pass
    assert migrate(url, tmp_path, role_prefix="") == (0, "")


async def test_the_standard_database_of_the_release_before_needs_no_change(
    server: PostgresServer, tmp_path: Path
) -> None:
    url = await of_the_release_before(server, "middleman")
    assert migrate(url, tmp_path, role_prefix="") == (0, "")
    async with session(server, "middleman_replica", "middleman") as replica:
        await replica.fetch("SELECT * FROM take_office(0::smallint, 'x', 1, gen_random_uuid())")
    assert migrate(url, tmp_path, role_prefix="") == (0, "")


async def test_a_name_that_another_database_uses_is_refused(server: PostgresServer, tmp_path: Path) -> None:
    assert migrate(server.dsn(), tmp_path, role_prefix="") == (0, "")
    url = await server.create_database("staging")
    status, told = migrate(
        url, tmp_path, role_prefix="middleman", MIDDLEMAN_DB_PASSWORD_API="another-password"
    )
    assert (status, told.count("\n")) == (2, 1), told
    assert "belong to the database middleman" in told
    assert "MIDDLEMAN_DB_ROLE_PREFIX" in told
    async with session(server, "middleman_api", "middleman"):
        pass


async def test_a_copy_of_production_does_not_stay_open_to_productions_roles(
    server: PostgresServer, tmp_path: Path
) -> None:
    assert migrate(server.dsn(), tmp_path, role_prefix="") == (0, "")
    url = await server.create_database("copy", template="middleman")
    status, told = migrate(url, tmp_path, role_prefix="", MIDDLEMAN_DB_RETIRE_ROLES="middleman")
    assert (status, told) == (0, "")
    async with session(server, "copy_api", "copy") as api:
        await api.fetch("SELECT * FROM plans")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with session(server, "middleman_api", "copy"):
            pass
    async with session(server, "middleman_api", "middleman") as api:
        await api.fetch("SELECT * FROM plans")


async def test_a_process_with_the_role_of_another_database_is_told_so(
    server: PostgresServer, tmp_path: Path
) -> None:
    assert migrate(server.dsn(), tmp_path, role_prefix="") == (0, "")
    url = await server.create_database("staging")
    assert migrate(url, tmp_path, role_prefix="") == (0, "")
    wrong = server.dsn(user="middleman_api", password=PASSWORD, database="staging")
    done = run_middleman(["api-key", "list"], tmp_path, MIDDLEMAN_DATABASE_URL=wrong)
    assert "staging_api" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("prefix", ["x" * 56, 'a"b', "a b", "1a", "ä"])
def test_a_name_that_no_role_can_have_asks_for_another(prefix: str) -> None:
    with pytest.raises(CannotMigrate, match="MIDDLEMAN_DB_ROLE_PREFIX"):
        RoleNames(prefix)


def test_migrations_name_the_roles_of_this_database() -> None:
    sql = "GRANT x TO middleman_api, middleman_judge; SELECT 'middleman_replica'; -- middleman_apis, \"middleman_api\""
    assert RoleNames("a-b").in_sql(sql) == (
        'GRANT x TO "a-b_api", "a-b_judge"; SELECT \'a-b_replica\'; -- middleman_apis, "a-b_api"'
    )
    assert RoleNames().in_sql(sql) == sql
