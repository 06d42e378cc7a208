"""Running as root: which unprivileged user a server runs as, and what that user can reach."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cluster.errors import StartError

_CANDIDATES = ("postgres", "nobody")


@dataclass(frozen=True, slots=True)
class User:
    """An account of the operating system, by its numbers."""

    name: str
    uid: int
    gid: int


def unprivileged_user() -> User | None:
    """None unless we are root; then `postgres` where it exists, else `nobody`."""
    if os.geteuid() != 0:
        return None
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return User(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise StartError(
        f"PostgreSQL refuses to run as root and none of the users {', '.join(_CANDIDATES)} exists: "
        "create one, for example `useradd --system postgres`, or run as a plain user"
    )


def can_reach(user: User | None, path: Path, *, execute: bool = False) -> bool:
    """Whether `user` can get at `path`, found by trying: permissions, ACLs and mounts all have a say."""
    mode = "-x" if execute else "-r"
    if user is None:
        return os.access(path, os.X_OK if execute else os.R_OK)
    attempt = subprocess.run(  # noqa: S603  # fixed program, path passed as an argument
        ["/usr/bin/env", "test", mode, str(path)],
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        cwd="/",
        check=False,
        timeout=10,
    )
    return attempt.returncode == 0
