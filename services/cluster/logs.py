"""The members' log files: one each, appended to through all restarts."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_ROTATION_BYTES = 64 * 1024 * 1024
_TAIL_BYTES = 64 * 1024


@contextlib.contextmanager
def opened_for_append(path: Path) -> Iterator[int]:
    """A file descriptor at the end of the log; a log that has grown large is set aside as `.1` first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if size_of(path) > _ROTATION_BYTES:
        path.replace(path.with_name(f"{path.name}.1"))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def size_of(path: Path) -> int:
    """Bytes in the log, 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def tail(path: Path, start: int, lines: int) -> str:
    """The last lines of what was logged from offset `start` on."""
    size = size_of(path)
    if start > size:
        start = 0  # set aside since
    if size == start:
        return "(nothing was logged)"
    with path.open("rb") as log:
        log.seek(max(start, size - _TAIL_BYTES))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])
