"""What a person can cure ends `migrate` with one line that says how, and never with a traceback."""

import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.database import PASSWORD, Database

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.migrate import begin_migration

SOURCES = Path(__file__).resolve().parents[3] / "services"


def migrate(url: str, tmp_path: Path, *, role_prefix: str = "middleman", **more: str) -> tuple[int, str]:
    """Exit status and standard error of the process."""
    done = subprocess.run(
        [sys.executable, "-m", "middleman.entrypoints.migrate"],
        env={
            "PYTHONPATH": str(SOURCES),
            "PATH": "/usr/bin:/bin",
            "MIDDLEMAN_ENVIRONMENT": "test",
            "MIDDLEMAN_DB_ROLE_PREFIX": role_prefix,
            "MIDDLEMAN_DATABASE_URL": url,
            # Roles belong to the whole server, which other tests use as well.
            "MIDDLEMAN_DB_PASSWORD_API": PASSWORD,
            "MIDDLEMAN_DB_PASSWORD_REPLICA": PASSWORD,
            "MIDDLEMAN_DB_PASSWORD_JUDGE": PASSWORD,
            **more,
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"password": "not-the-password"}, "password authentication failed"),
        ({"user": "nobody_we_know", "password": "x"}, "nobody_we_know"),
        ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
    ],
)
def test_a_database_that_lets_nobody_in_is_a_misconfiguration(
    migrated_server: PostgresServer, tmp_path: Path, wrong: dict[str, str], told: str
) -> None:
    status, told_all = migrate(migrated_server.dsn(**wrong), tmp_path)  # type: ignore[arg-type]  # no port among them
    assert (status, told_all.count("\n")) == (2, 1), told_all
    assert told in told_all
    assert "MIDDLEMAN_DATABASE_URL" in told_all
    assert "not-the-password" not in told_all


def test_a_role_that_may_not_change_the_schema_is_a_misconfiguration(
    database: Database, tmp_path: Path
) -> None:
    status, told = migrate(database.dsn("middleman_api"), tmp_path)
    assert (status, told.count("\n")) == (2, 1), told
    assert "MIDDLEMAN_DATABASE_URL" in told
    assert "owner" in told
    assert PASSWORD not in told, "passwords are set by a statement that has them in its text"


def test_a_database_that_is_away_may_be_back_soon(tmp_path: Path) -> None:
    status, told = migrate("postgresql://u:p@127.0.0.1:1/middleman", tmp_path)  # nobody listens there
    assert (status, told.count("\n")) == (1, 1), told
    assert "cannot reach" in told


async def test_what_is_migrated_already_is_left_as_it_is(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    name = f"once_{secrets.token_hex(4)}"
    url = await postgres_server.create_database(name)
    assert migrate(url, tmp_path, role_prefix=name) == (0, "")
    assert migrate(url, tmp_path, role_prefix=name) == (0, "")
    await postgres_server.drop_database(name)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
async def test_a_database_that_cannot_hold_every_name_is_refused(
    postgres_server: PostgresServer, tmp_path: Path, encoding: str
) -> None:
    owner = await postgres_server.connect()
    await owner.execute(
        f"CREATE DATABASE narrow ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
    )
    status, told = migrate(postgres_server.dsn(database="narrow"), tmp_path)
    await postgres_server.drop_database("narrow")
    await owner.close()
    assert (status, told.count("\n")) == (2, 1), told
    assert f"encoding {encoding}" in told
    assert "UTF8" in told


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("CREATE SCHEMA app; ALTER DATABASE elsewhere SET search_path = app, public", "made in app"),
        ("CREATE SCHEMA postgres", "made in postgres"),  # "$user" comes first in the default search_path
        ("DROP SCHEMA public", "made in no schema"),
    ],
)
async def test_a_database_whose_tables_would_not_be_in_public_is_refused(
    postgres_server: PostgresServer, tmp_path: Path, change: str, reason: str
) -> None:
    url = await postgres_server.create_database("elsewhere")
    owner = await postgres_server.connect("elsewhere")
    await owner.execute(change)
    status, told = migrate(url, tmp_path)
    left = await owner.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'plans'")
    await owner.close()
    await postgres_server.drop_database("elsewhere")
    assert (status, told.count("\n"), left) == (2, 1, 0), told
    assert reason in told


async def test_a_search_path_that_was_set_later_does_not_lead_the_processes_astray(
    database: Database,
) -> None:
    async with database.connect() as owner:
        await owner.execute(f"CREATE SCHEMA app; ALTER DATABASE {database.name} SET search_path = app")
    async with database.connect("middleman_api") as api:
        await api.fetch("SELECT * FROM plans")


async def test_a_lock_that_is_not_to_be_had_is_given_up_and_tried_again(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    url = await postgres_server.create_database("locked")
    assert migrate(url, tmp_path, role_prefix="locked")[0] == 0
    owner, reader = await postgres_server.connect("locked"), await postgres_server.connect("locked")
    holding = owner.transaction()
    await holding.start()
    await owner.execute("LOCK TABLE deployment IN ACCESS EXCLUSIVE MODE")
    status, told = migrate(url, tmp_path, role_prefix="locked", MIDDLEMAN_MIGRATE_PATIENCE_S="4")
    assert (status, told.count("\n")) == (1, 1), told
    assert "another session holds a lock" in told
    assert "pg_stat_activity" in told
    await holding.rollback()

    await reader.fetch("SELECT pg_advisory_lock($1)", 0x4D1DD1E)
    status, told = migrate(url, tmp_path, role_prefix="locked", MIDDLEMAN_MIGRATE_PATIENCE_S="1")
    assert (status, "another migrate is at work" in told) == (1, True), told
    await reader.fetch("SELECT pg_advisory_unlock($1)", 0x4D1DD1E)
    assert migrate(url, tmp_path, role_prefix="locked") == (0, "")
    await owner.close()
    await reader.close()
    await postgres_server.drop_database("locked")


async def test_a_statement_may_take_longer_than_any_bound_of_the_database(
    postgres_server: PostgresServer,
) -> None:
    url = await postgres_server.create_database("slow")
    owner = await postgres_server.connect("slow")
    await owner.execute("ALTER DATABASE slow SET statement_timeout = '100ms'")
    await owner.close()
    pool = owner_engine(url)
    async with pool.begin() as connection:
        await begin_migration(connection)
        await connection.execute(text("SELECT pg_sleep(0.5)"))
        bounds = ("statement_timeout", "lock_timeout")
        assert [await connection.scalar(text(f"SHOW {name}")) for name in bounds] == ["0", "3s"]
    await pool.dispose()
    await postgres_server.drop_database("slow")
