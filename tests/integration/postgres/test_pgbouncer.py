"""The REST API behind pgbouncer in session mode, with pgbouncer's defaults."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.database import PASSWORD, Database

from cluster.ports import reserve_port
from cluster.users import unprivileged_user
from middleman.adapters.postgres.engine import engine

_BINARY = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
pytestmark = pytest.mark.skipif(
    _BINARY is None, reason="pgbouncer is not installed (apt-get install pgbouncer)"
)


@pytest.fixture
def pooler(database: Database, server_root: Path) -> Iterator[int]:
    """The port of a pgbouncer before the server."""
    home = server_root / "pgbouncer"
    home.mkdir(exist_ok=True)
    reserved = reserve_port(None)
    (home / "users.txt").write_text(f'"middleman_api" "{PASSWORD}"\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={database.server.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
        f"listen_port = {reserved.number}\nunix_socket_dir =\nauth_type = scram-sha-256\n"
        f"auth_file = {home}/users.txt\npool_mode = session\nlogfile = {home}/log\n"
    )
    user = unprivileged_user()
    as_user: dict[str, object] = {}
    if user is not None:
        as_user = {"user": user.uid, "group": user.gid, "extra_groups": []}
        for path in (home, *home.iterdir()):
            os.chown(path, user.uid, user.gid)
    assert _BINARY is not None
    process = subprocess.Popen([_BINARY, "-q", str(home / "pgbouncer.ini")], cwd=home, **as_user)  # type: ignore[call-overload]  # the mapping is user, group, extra_groups
    deadline = time.monotonic() + 10
    while "process up" not in ((home / "log").read_text() if (home / "log").exists() else ""):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield reserved.number
    process.send_signal(signal.SIGINT)
    process.wait(10)
    reserved.release()


async def test_the_apis_sessions_pass_with_the_poolers_defaults(database: Database, pooler: int) -> None:
    url = database.server.dsn(user="middleman_api", password=PASSWORD, database=database.name, port=pooler)
    pool = engine(url, application_name="middleman-api", pool_size=2)
    try:
        for _ in range(3):
            async with pool.begin() as session:
                assert await session.scalar(text("SELECT count(*) FROM plans")) == 0
                assert await session.scalar(text("SHOW jit")) == "off"
                assert await session.scalar(text("SHOW application_name")) == "middleman-api"
    finally:
        await pool.dispose()
