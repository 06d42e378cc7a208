"""A small disk for PostgreSQL's write-ahead log, so that it can be full: a tmpfs, mounted where we may.

`pg_wal` becomes a link to the mount (as `initdb --waldir` makes it), and a directory again afterwards. A tmpfs
does not outlast the machine: while the log lies there, nothing does either.
"""

import ctypes
import errno
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import ClusterError, NotPermittedError, StartError
from cluster.users import User

_MNT_DETACH = 2
_MNT_NOSUID_NODEV = 2 | 4
_DRAFT = "pg_wal.draft"
_BEFORE = "pg_wal.before"


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """The mount below `home`, for the data directory `data`. Its methods block for as long as copying takes."""

    home: Path
    data: Path
    user: User | None

    @property
    def mount_point(self) -> Path:
        return self.home / "small-wal"

    @property
    def is_mounted(self) -> bool:
        return os.path.ismount(self.mount_point)

    def mount(self, size_mb: int) -> None:
        """An empty disk of that size; raises `NotPermittedError` with the reason where we may not."""
        self.mount_point.mkdir(exist_ok=True)
        owner = f",uid={self.user.uid},gid={self.user.gid}" if self.user is not None else ""
        options = f"size={size_mb}m,mode=0700{owner}"
        try:
            _mount(self.mount_point, options)
        except OSError as error:
            self.mount_point.rmdir()
            raise NotPermittedError(
                f"a small disk for PostgreSQL's log could not be mounted on {self.mount_point}: {error.strerror}; "
                "that takes root and CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)"
            ) from None

    def unmount(self) -> None:
        """The disk with whatever is on it is gone; harmless when there is none."""
        if self.is_mounted:
            _unmount(self.mount_point)
        if self.mount_point.exists():
            self.mount_point.rmdir()

    def move_in(self, first_segment: str) -> None:
        """Puts `pg_wal` on the disk, from that segment on; the server was stopped cleanly and needs no older ones."""
        wal = self.data / "pg_wal"
        segments = sorted(each.name for each in wal.iterdir() if len(each.name) == len(first_segment))
        # The last record may reach into the next segment. Those after it are spare ones without content.
        needed = [name for name in segments if name >= first_segment][:2]
        for name in [*needed, *(each.name for each in wal.glob("*.history"))]:
            self._copy(wal / name, self.mount_point / name)
        wal.rename(self.data / _BEFORE)
        wal.symlink_to(self.mount_point)

    def move_out(self) -> None:
        """Makes `pg_wal` a directory again, with all that is on the disk; unmounts it. Finishes what was begun.

        Raises `StartError` when the disk is gone and the log with it.
        """
        wal, draft, before = (self.data / name for name in ("pg_wal", _DRAFT, _BEFORE))
        if wal.is_symlink() and wal.readlink() == self.mount_point:
            if not self.is_mounted:
                raise StartError(
                    f"the log of {self.data} was on a small disk that is gone (a reboot?): start fresh"
                )
            shutil.rmtree(draft, ignore_errors=True)
            self._copy_tree(self.mount_point, draft)
            wal.unlink()
        if not wal.exists() and (found := draft if draft.exists() else before).exists():
            found.rename(wal)
        for leftover in (draft, before):
            shutil.rmtree(leftover, ignore_errors=True)
        self.unmount()

    @property
    def _ballast(self) -> Path:
        return self.mount_point / "ballast"

    def fill(self) -> None:
        """Not a byte is left; may be repeated, to fill what has become free."""
        descriptor = os.open(self._ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            while (free := _free_bytes(self.mount_point)) > 0:
                os.posix_fallocate(descriptor, os.fstat(descriptor).st_size, free)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # somebody else took it meanwhile: full is full
                raise
        finally:
            os.close(descriptor)

    def free(self) -> None:
        """What `fill` took is free again."""
        self._ballast.unlink(missing_ok=True)

    def _copy_tree(self, source: Path, target: Path) -> None:
        target.mkdir(mode=0o700)
        self._give_away(target)
        for entry in source.iterdir():
            if entry.is_dir():
                self._copy_tree(entry, target / entry.name)
            elif entry != self._ballast:
                self._copy(entry, target / entry.name)

    def _copy(self, source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        target.chmod(0o600)
        self._give_away(target)
        descriptor = os.open(target, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _give_away(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid)


def _free_bytes(path: Path) -> int:
    found = os.statvfs(path)
    return found.f_bfree * found.f_frsize


def _mount(target: Path, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"middleman", os.fsencode(target), b"tmpfs", _MNT_NOSUID_NODEV, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _unmount(target: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(target), 0) == 0:
        return
    if libc.umount2(os.fsencode(target), _MNT_DETACH) != 0:  # still in use: it goes with its last user
        reason = os.strerror(ctypes.get_errno())
        raise ClusterError(f"{target} could not be unmounted: {reason}; do it by hand: umount {target}")
