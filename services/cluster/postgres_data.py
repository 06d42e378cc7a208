"""PostgreSQL's data directory: made once, and used by one server at a time."""

import asyncio
import contextlib
import os
import secrets
import shutil
from pathlib import Path

from cluster.environment import clean_environment
from cluster.errors import StartError
from cluster.leashed import Command
from cluster.one_shot import run_to_end
from cluster.postgres_files import PostgresFiles
from cluster.users import User

_INITDB_TIMEOUT_S = 60.0
_CLONE_TIMEOUT_S = 60.0
_PREDECESSOR_TIMEOUT_S = 10.0


async def initialise(files: PostgresFiles, user: User | None, superuser: str, log_path: Path) -> str:
    """Makes the data; returns the superuser's password.

    initdb works on a draft, renamed when complete, so that half-made data is never started.
    """
    draft, password_file = files.home / "data.draft", files.home / "initdb-password"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    _give_away(draft, user)
    password = secrets.token_hex(24)
    write_private(password_file, password, user)
    argv = (
        str(files.bin / "initdb"),
        *("-D", str(draft), "-U", superuser, "--pwfile", str(password_file), "-A", "scram-sha-256"),
        *("-E", "UTF8", "--locale", "C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
    )
    command = Command(argv, clean_environment(), files.home, user)
    try:
        await run_to_end("initdb", command, log_path, timeout_s=_INITDB_TIMEOUT_S)
    finally:
        password_file.unlink(missing_ok=True)
    draft.rename(files.data)
    return password


async def clone(files: PostgresFiles, user: User | None, source: str, log_path: Path) -> None:
    """Makes the data anew, as a copy of the running server behind `source`, a connection string for the superuser.

    The copy starts as a hot standby. As in `initialise`, half-made data is never started.
    """
    draft = files.home / "data.draft"
    for place in (draft, files.data):
        shutil.rmtree(place, ignore_errors=True)
    draft.mkdir(mode=0o700)
    _give_away(draft, user)
    argv = (
        str(files.bin / "pg_basebackup"),
        *("-d", source, "-D", str(draft), "--wal-method=stream", "--checkpoint=fast", "--no-password"),
    )
    command = Command(argv, clean_environment(), files.home, user)
    await run_to_end("pg_basebackup", command, log_path, timeout_s=_CLONE_TIMEOUT_S)
    write_private(draft / "standby.signal", "", user)
    draft.rename(files.data)


async def wait_for_predecessor(data: Path) -> None:
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


def write_private(path: Path, text: str, owner: User | None = None) -> None:
    """Writes a file that only its owner can read; ours, unless given to somebody else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    _give_away(path, owner)


def _give_away(path: Path, user: User | None) -> None:
    if user is not None:
        os.chown(path, user.uid, user.gid)


def _processes_in(directory: Path) -> list[int]:
    """Processes whose working directory this is; postmaster and backends work in their data directory."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink() == directory:
                    found.append(int(entry.name))
    return found
