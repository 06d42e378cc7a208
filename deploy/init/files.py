"""Files that are there whole or not at all, so that an init that was interrupted can simply run again."""

import os
from pathlib import Path

PRIVATE = 0o400
# For a reader who runs as another user: only that reader's container mounts the volume.
SHARED = 0o444


def put(path: Path, content: bytes, mode: int = PRIVATE) -> bool:
    """Write `content`, unless it is there already; whether anything changed."""
    if path.is_file() and path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
        return False
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)  # whatever the umask says
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    return True
