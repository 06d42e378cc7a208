"""What a person can cure ends `migrate` with one line that says how, and never with a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.database import PASSWORD, Database

from cluster.postgres import PostgresServer

SOURCES = Path(__file__).resolve().parents[3] / "services"


def migrate(url: str, tmp_path: Path) -> tuple[int, str]:
    """Exit status and standard error of the process."""
    done = subprocess.run(
        [sys.executable, "-m", "middleman.entrypoints.migrate"],
        env={
            "PYTHONPATH": str(SOURCES),
            "PATH": "/usr/bin:/bin",
            "MIDDLEMAN_ENVIRONMENT": "test",
            "MIDDLEMAN_DATABASE_URL": url,
            # Roles belong to the whole server, which other tests use as well.
            "MIDDLEMAN_DB_PASSWORD_API": PASSWORD,
            "MIDDLEMAN_DB_PASSWORD_REPLICA": PASSWORD,
            "MIDDLEMAN_DB_PASSWORD_JUDGE": PASSWORD,
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


def test_what_is_migrated_already_is_left_as_it_is(database: Database, tmp_path: Path) -> None:
    assert migrate(database.dsn(), tmp_path) == (0, "")
