"""The embedded PostgreSQL server: settings, durability through every kind of end, and the root user."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from tests.support.processes import is_gone

from cluster import postgres_files
from cluster.errors import StartError
from cluster.leashed import descendants
from cluster.postgres import PostgresServer
from cluster.users import User, can_reach


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def breakable_server(server_root: Path) -> AsyncIterator[PostgresServer]:
    """A server beside the shared one, which these tests may break."""
    async with PostgresServer(server_root / "breakable") as postgres:
        yield postgres


@pytest_asyncio.fixture
async def server(breakable_server: PostgresServer) -> AsyncIterator[PostgresServer]:
    """The breakable server, up and without notes."""
    if breakable_server.is_paused:
        breakable_server.resume()
    await breakable_server.start()
    connection = await breakable_server.connect()
    await connection.execute("DROP TABLE IF EXISTS note")
    await connection.close()
    yield breakable_server


async def write_note(server: PostgresServer, text: str) -> None:
    connection = await server.connect()
    try:
        await connection.execute("CREATE TABLE IF NOT EXISTS note (text text)")
        await connection.execute("INSERT INTO note VALUES ($1)", text)
    finally:
        await connection.close()


async def read_notes(server: PostgresServer) -> list[str]:
    connection = await server.connect()
    try:
        return [row["text"] for row in await connection.fetch("SELECT text FROM note ORDER BY text")]
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("track_commit_timestamp", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("TimeZone", "UTC"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
    ],
)
async def test_it_is_durable_local_and_in_utc(
    postgres_server: PostgresServer, setting: str, value: str
) -> None:
    connection = await postgres_server.connect()
    try:
        assert await connection.fetchval("SELECT current_setting($1)", setting) == value
    finally:
        await connection.close()


async def test_a_wrong_password_is_refused(postgres_server: PostgresServer) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres_server.dsn(password="wrong"), timeout=5)


async def test_a_test_can_have_a_database_of_its_own(postgres_server: PostgresServer) -> None:
    dsn = await postgres_server.create_database("of_my_own")
    connection = await asyncpg.connect(dsn, timeout=5)
    assert await connection.fetchval("SELECT current_database()") == "of_my_own"
    await connection.close()
    await postgres_server.drop_database("of_my_own")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(dsn, timeout=5)


async def test_a_killed_server_takes_its_backends_along_and_starts_again_with_every_commit(
    server: PostgresServer,
) -> None:
    await write_note(server, "acknowledged")
    idle = await server.connect()
    busy = asyncio.create_task(_sleep_in_database(server))
    assert server.pid is not None
    tree = [server.pid, *descendants(server.pid)]
    assert len(tree) > 2
    assert await server.kill() == -signal.SIGKILL
    assert all(is_gone(pid) for pid in tree)
    await server.start()
    assert await read_notes(server) == ["acknowledged"]
    idle.terminate()
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await busy


async def _sleep_in_database(server: PostgresServer) -> None:
    connection = await server.connect()
    await connection.execute("SELECT pg_sleep(60)")


async def test_who_asks_again_and_again_does_so_on_one_session_and_on_another_once_that_broke(
    server: PostgresServer,
) -> None:
    async def session() -> int:
        [row] = await server.fetch("SELECT pg_backend_pid() AS pid, $1::int AS given", 7)
        assert row["given"] == 7
        return int(row["pid"])

    first = await session()
    assert list(await asyncio.gather(session(), session())) == [first, first]
    os.kill(first, signal.SIGTERM)
    while not is_gone(first):  # noqa: ASYNC110  # a process that is not ours sets no event
        await asyncio.sleep(0.01)
    second = await session()
    assert second != first
    with pytest.raises(asyncpg.UndefinedTableError):
        await server.fetch("SELECT FROM nothing")
    waiting = asyncio.create_task(server.fetch("SELECT pg_sleep(60)"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await session() != second, "what was in the middle of something is not asked again"
    await server.kill()
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await session()
    await server.start()
    assert await session() > 0


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_a_stopped_server_keeps_port_and_data(server: PostgresServer, mode: str) -> None:
    await write_note(server, mode)
    port, first_pid = server.port, server.pid
    await server.stop(mode="fast" if mode == "fast" else "immediate")
    assert not server.is_running
    await server.start()
    assert (server.port, await read_notes(server)) == (port, [mode])
    assert server.pid != first_pid


async def test_a_paused_server_answers_nobody_until_resumed(server: PostgresServer) -> None:
    connection = await server.connect()
    server.pause()
    assert not await server.is_ready()
    query = asyncio.create_task(connection.fetchval("SELECT 1"))
    done, _ = await asyncio.wait([query], timeout=0.2)
    assert not done  # the existing backend is frozen too
    server.resume()
    assert await query == 1
    await connection.close()


async def test_a_pid_file_naming_a_stranger_does_not_keep_it_down(server: PostgresServer) -> None:
    """After a reboot the old postmaster's pid may belong to any process of the same user."""
    await server.stop()
    assert server._files is not None
    pid_file = server._files.data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n")
    await server.start()
    assert pid_file.read_text().splitlines()[0] == str(server.pid)


async def test_fresh_starts_from_nothing(short_dir: Path) -> None:
    async with PostgresServer(short_dir / "pg") as server:
        await write_note(server, "old")
        old_password = server.password
    async with PostgresServer(short_dir / "pg", fresh=True) as server:
        assert server.password != old_password
        with pytest.raises(asyncpg.UndefinedTableError):
            await read_notes(server)


async def test_an_unusable_configuration_is_reported_with_the_servers_own_words(short_dir: Path) -> None:
    server = PostgresServer(short_dir / "pg")
    try:
        await server.start()
        await server.stop()
        assert server._files is not None
        with (server._files.data / "postgresql.auto.conf").open("a") as conf:
            conf.write("shared_buffers = nonsense\n")
        with pytest.raises(StartError, match=r"(?s)postgres died while starting.*shared_buffers"):
            await server.start()
    finally:
        await server.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to drop to a user who may be shut out")
async def test_as_root_below_a_closed_directory_data_go_where_the_server_can_reach_them(
    short_dir: Path,
) -> None:
    closed = short_dir / "closed"
    closed.mkdir(mode=0o700)
    directory = closed / "pg"
    async with PostgresServer(directory) as server:
        await write_note(server, "kept")
        assert server.pid is not None
        assert os.stat(f"/proc/{server.pid}").st_uid != 0
        home = (directory / "relocated-to").read_text().strip()
        assert "PG_VERSION" in os.listdir(f"{home}/data")
    closed.chmod(0o711)  # opened since: the data stay where they were made
    async with PostgresServer(directory) as server:
        assert await read_notes(server) == ["kept"]
    postgres_files.wipe(directory)
    assert os.path.basename(home) not in os.listdir(os.path.dirname(home))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another user")
async def test_as_root_data_that_became_unreachable_are_not_replaced_by_new_ones(short_dir: Path) -> None:
    server = PostgresServer(short_dir / "pg")
    async with server:
        await write_note(server, "kept")
    os.chmod(short_dir, 0o700)
    with pytest.raises(StartError, match="can no longer reach"):
        await PostgresServer(short_dir / "pg").start()
    os.chmod(short_dir, 0o711)
    async with PostgresServer(short_dir / "pg") as server:
        assert await read_notes(server) == ["kept"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_data_of_another_user_are_refused_with_a_way_out(server: PostgresServer) -> None:
    await server.stop()
    assert server._files is not None
    data = server._files.data
    owner = data.stat()
    os.chown(data, 12345, 12345)
    try:
        with pytest.raises(StartError, match="belongs to the user with number 12345"):
            await server.start()
    finally:
        os.chown(data, owner.st_uid, owner.st_gid)


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user always reaches what it installed")
async def test_as_root_binaries_out_of_reach_are_copied(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(postgres_files, "_ELSEWHERE", short_dir)
    package = postgres_files._wheel_binaries()

    def shut_out(user: User | None, path: Path, *, execute: bool = False) -> bool:
        return not path.is_relative_to(package) and can_reach(user, path, execute=execute)

    monkeypatch.setattr(postgres_files, "can_reach", shut_out)
    async with PostgresServer(short_dir / "pg") as server:
        assert os.readlink(f"/proc/{server.pid}/exe").startswith(str(short_dir))
