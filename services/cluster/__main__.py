"""`python -m cluster --data-dir DIR`: runs a cluster until Ctrl-C or SIGTERM, for scripts and experiments."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.spec import ClusterSpec
from cluster.state import FILE


def _spec(arguments: Sequence[str] | None) -> ClusterSpec:
    parser = argparse.ArgumentParser(prog="python -m cluster", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--apis", type=int, default=1)
    parser.add_argument("--etcd-members", type=int, default=3)
    parser.add_argument("--lease-ttl-s", type=int, default=3)
    parser.add_argument("--fresh", action="store_true", help="empty the data directory first")
    options = vars(parser.parse_args(arguments))
    try:
        return ClusterSpec(**options)
    except ValueError as error:
        parser.error(str(error))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def _run(spec: ClusterSpec) -> None:
    task = asyncio.current_task()
    assert task is not None  # we run inside asyncio.run
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Cluster(spec, progress=_say) as cluster:
        _say(f"running; described by {cluster.spec.data_dir / FILE}; Ctrl-C stops it")
        await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after a clean stop, 1 when the cluster could not be started, 2 on misuse."""
    spec = _spec(arguments)
    try:
        asyncio.run(_run(spec))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except ClusterError as error:
        _say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
