"""Finds the cluster that runs on this machine."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from middleman.entrypoints.cli.saying import MISUSE, fail

if TYPE_CHECKING:
    from cluster.state import ClusterState

HOME = Path(".middleman")
DEMO_DIR = HOME / "demo"
UP_DIR = HOME / "up"


def forget_libpq_settings() -> None:
    """Take libpq's variables out of this process's environment, as they are taken out of that of every member.

    A cluster on this machine is reached as it was set up. PGSSLMODE or PGTARGETSESSIONATTRS, meant for other databases,
    would keep the supervisor and the judge away from it.
    """
    for name in [each for each in os.environ if each.startswith("PG")]:
        del os.environ[name]


def running_cluster(data_dir: Path | None) -> "ClusterState":
    """The cluster on `data_dir`, or the only one that runs below `.middleman`. Exits with 2 when there is none."""
    from cluster.errors import ClusterError
    from cluster.state import ClusterState

    forget_libpq_settings()
    if data_dir is not None:
        try:
            return ClusterState.load(data_dir)
        except ClusterError as error:
            fail(str(error), MISUSE)
    running: dict[Path, ClusterState] = {}
    for state_file in sorted(HOME.glob("*/state.json")):
        try:
            running[state_file.parent] = ClusterState.load(state_file.parent)
        except ClusterError:
            continue  # left behind by a supervisor that was killed: nothing runs there
    if not running:
        fail(f"no cluster runs below {HOME}: start one with `middleman up`, or give --data-dir", MISUSE)
    if len(running) > 1:
        fail(f"several clusters run ({', '.join(map(str, running))}): choose with --data-dir", MISUSE)
    return next(iter(running.values()))
