"""TLS to PostgreSQL as libpq means it, on a server that takes nothing else: every process, or one line and status 2."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text
from tests.integration.postgres.test_migrate_command import migrate
from tests.support.processes import run_middleman
from tests.support.system_postgres import TlsPostgres, binaries, tls_postgres

from middleman.adapters.postgres.engine import engine

_BINARIES = binaries()
pytestmark = pytest.mark.skipif(
    _BINARIES is None, reason="no PostgreSQL with OpenSSL is installed; the wheel's has none"
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(server_root: Path) -> AsyncIterator[TlsPostgres]:
    assert _BINARIES is not None
    with tls_postgres(server_root, _BINARIES) as running:
        connection = await asyncpg.connect(running.url("?sslmode=require"))
        await connection.execute("CREATE DATABASE middleman")
        await connection.close()
        yield running


async def encrypted(url: str) -> bool:
    pool = engine(url, application_name="tls", pool_size=1)
    try:
        async with pool.connect() as session:
            return bool(
                await session.scalar(text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"))
            )
    finally:
        await pool.dispose()


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "?sslmode=prefer",
        "?sslmode=require",
        "?ssl=true",
        "?sslmode=verify-ca&sslrootcert={authority}",
        "?sslmode=verify-full&sslrootcert={authority}",
        "?sslmode=verify-full&sslrootcert={authority}&ssl_min_protocol_version=TLSv1.3&connect_timeout=10",
        "?sslmode=require&target_session_attrs=read-write&application_name=x&options=-c%20geqo%3Doff",
    ],
)
async def test_a_session_is_encrypted(server: TlsPostgres, parameters: str) -> None:
    assert await encrypted(server.url(parameters.format(authority=server.authority)))


async def test_the_next_host_is_tried_when_one_is_away(server: TlsPostgres) -> None:
    url = server.url("?sslmode=require", host="127.0.0.1:1,127.0.0.1")
    assert await encrypted(url)


async def test_options_reach_the_session(server: TlsPostgres) -> None:
    pool = engine(server.url("?options=-c%20geqo%3Doff"), application_name="tls", pool_size=1)
    async with pool.connect() as session:
        assert await session.scalar(text("SHOW geqo")) == "off"
        assert await session.scalar(text("SHOW application_name")) == "tls"
    await pool.dispose()


@pytest.mark.parametrize(
    ("host", "parameters", "reason"),
    [
        ("localhost", "?sslmode=disable", "no encryption"),
        ("localhost", "?sslmode=verify-ca&sslrootcert={other}", "certificate is not trusted"),
        ("127.0.0.1", "?sslmode=verify-full&sslrootcert={authority}", "certificate is not trusted"),
        ("localhost", "?sslmode=verify-full", "add sslrootcert="),
        ("localhost", "?sslmode=verify-full&sslrootcert=/no/such/file.pem", "/no/such/file.pem"),
        ("localhost", "?sslmode=strict", "sslmode=strict is none of"),
        ("localhost", "?sslmodus=require", "'sslmodus'"),
    ],
)
def test_a_url_that_cannot_be_right_ends_migrate_with_one_line(
    server: TlsPostgres, tmp_path: Path, host: str, parameters: str, reason: str
) -> None:
    parameters = parameters.format(authority=server.authority, other=server.other_authority)
    status, told = migrate(server.url(parameters, host, "middleman"), tmp_path)
    assert (status, told.count("\n")) == (2, 1), told
    assert reason in told


def test_migrate_and_api_key_work_over_tls(server: TlsPostgres, tmp_path: Path) -> None:
    url = server.url(f"?sslmode=verify-full&sslrootcert={server.authority}", database="middleman")
    assert migrate(url, tmp_path) == (0, "")
    made = run_middleman(["api-key", "create", "--name", "x"], tmp_path, MIDDLEMAN_DATABASE_URL=url)
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith("mk_test_")
    refused = run_middleman(["api-key", "list"], tmp_path, MIDDLEMAN_DATABASE_URL=url + "&no_such=1")
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr


@pytest.mark.parametrize("command", ["api", "replica"])
@pytest.mark.parametrize("parameters", ["?no_such=1", "?sslmode=verify-full", "?sslmode=strict"])
def test_a_process_that_cannot_use_its_url_does_not_start(
    server: TlsPostgres, tmp_path: Path, command: str, parameters: str
) -> None:
    done = run_middleman(
        [command],
        tmp_path,
        MIDDLEMAN_DATABASE_URL=server.url(parameters),
        MIDDLEMAN_ETCD_ENDPOINTS="127.0.0.1:1",
        MIDDLEMAN_REPLICA_NAME="replica-1",
        MIDDLEMAN_API_PORT="0",
        MIDDLEMAN_OPS_PORT="0",
        STRIPE_API_KEY="sk_test_x",
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("middleman:")]
    assert len(lines) == 1, done.stderr
    assert "MIDDLEMAN_DATABASE_URL" in lines[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("?sslmode=verify-full&sslrootcert={authority}&connect_timeout=5&application_name=x", "ledger"),
        ("?ssl=true", "ledger"),
        ("?sslmode=verify-full&sslrootcert={other}", "certificate verify failed"),
        ("?sslmode=disable", "no encryption"),
        ("?sslmode=strict", "`sslmode` parameter must be one of"),
        ("?sslmodus=require", "'sslmodus'"),
        ("?channel_binding=require", "'channel_binding'"),
        ("?sslrootcert=system", "certificate verify failed"),
    ],
)
def test_the_judge_reaches_the_books_over_tls_or_says_why_not(
    server: TlsPostgres, tmp_path: Path, parameters: str, reason: str
) -> None:
    url = server.url(
        parameters.format(authority=server.authority, other=server.other_authority), database="middleman"
    )
    done = run_middleman(
        ["judge", "--database-url", url, "--ledger-url", "http://127.0.0.1:1", "--admin-key", "x"], tmp_path
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert reason in done.stderr
    assert "a-password" not in done.stderr
