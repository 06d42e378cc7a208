"""A supervisor to be killed: runs a cluster of real servers and stand-ins until SIGTERM.

`python -m tests.support.supervisor_script DATA_DIR`; prints `ready` once everything runs.
"""

import asyncio
import signal
import sys
from pathlib import Path

from cluster.cluster import Cluster
from cluster.spec import ClusterSpec
from tests.support.processes import stand_in_commands


async def _run(data_dir: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    spec = ClusterSpec(data_dir=data_dir, replicas=2, etcd_members=1, commands=stand_in_commands())
    async with Cluster(spec):
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    # Started in the background of a shell without job control, a process inherits that SIGINT is ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        asyncio.run(_run(Path(sys.argv[1])))
    except asyncio.CancelledError:
        sys.exit(0)
