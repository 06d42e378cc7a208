"""Snapshots of etcd, taken and restored with etcd's own tools.

A restored cluster is told nothing of what it has forgotten: revisions go back, under the same cluster id, and
who watches or compares revisions sees time run backwards (https://github.com/etcd-io/etcd/issues/17780).
"""

import asyncio
import shutil
from collections.abc import Mapping
from pathlib import Path

from cluster.environment import clean_environment
from cluster.errors import ClusterError
from cluster.etcd_binary import etcd_tool
from cluster.leashed import Command
from cluster.one_shot import run_to_end
from cluster.together import gather_all

_TIMEOUT_S = 30.0


async def save(endpoint: str, path: Path, log_path: Path) -> None:
    """Writes what the member at `endpoint` knows to `path`; raises `ClusterError`."""
    tool = etcd_tool("etcdctl")
    if tool is None:
        raise ClusterError(
            "no etcdctl beside etcd and none on PATH: install etcd-client, or run `make install`"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    argv = (tool, f"--endpoints={endpoint}", "snapshot", "save", str(path))
    await run_to_end("etcdctl snapshot save", _command(argv), log_path, timeout_s=_TIMEOUT_S)


async def restore(
    path: Path, directories: Mapping[str, Path], peers: Mapping[str, str], token: str, log_path: Path
) -> None:
    """Makes, at once, the data of every member from one snapshot; a directory must not exist yet.

    `peers` has each member's peer URL. Raises `ClusterError` and leaves no directory behind.
    """
    if not await asyncio.to_thread(path.is_file):
        raise ClusterError(f"no snapshot at {path}: take one first")
    program = _restorer()
    cluster = ",".join(f"{name}={peer}" for name, peer in peers.items())
    try:
        await gather_all(
            run_to_end(
                f"restoring {name} from {path.name}",
                _command(
                    (
                        *program,
                        *("snapshot", "restore", str(path)),
                        *("--name", name, "--initial-advertise-peer-urls", peers[name]),
                        *("--initial-cluster", cluster, "--initial-cluster-token", token),
                        *("--data-dir", str(directory)),
                    )
                ),
                log_path,
                timeout_s=_TIMEOUT_S,
            )
            for name, directory in directories.items()
        )
    except BaseException:
        await asyncio.to_thread(_remove, directories)
        raise


def _restorer() -> tuple[str, ...]:
    """etcd 3.5 came with etcdutl for this, and 3.6 took it from etcdctl."""
    for name in ("etcdutl", "etcdctl"):
        tool = etcd_tool(name)
        if tool is not None:
            return (tool,)
    raise ClusterError(
        "neither etcdutl nor etcdctl beside etcd or on PATH: install etcd-client, or run `make install`"
    )


def _command(argv: tuple[str, ...]) -> Command:
    return Command(argv, clean_environment() | {"ETCDCTL_API": "3"})  # before 3.4 its default was 2


def _remove(directories: Mapping[str, Path]) -> None:
    for directory in directories.values():
        shutil.rmtree(directory, ignore_errors=True)
