"""One supervisor per data directory."""

import fcntl
import os
from pathlib import Path

from cluster.errors import ClusterError, DataDirLockedError


class DataDirLock:
    """An advisory lock on `<data_dir>/lock`, which the kernel drops when its holder dies."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "lock"
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Raises `DataDirLockedError`, naming the holder's pid; `ClusterError` for a directory not ours."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except PermissionError:
            raise ClusterError(
                f"{self._path.parent} belongs to another user (was it made as root?): "
                "run as that user, remove it, or use another directory"
            ) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode().strip() or "unknown"
            os.close(descriptor)
            raise DataDirLockedError(
                f"{self._path.parent} is in use by process {holder}: stop it, or use another directory"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Lets go; harmless when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held_by_anyone(self) -> bool:
        """Whether some live process holds the lock."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False
