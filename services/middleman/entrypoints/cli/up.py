"""`middleman up`."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from middleman.entrypoints.cli.attach import UP_DIR
from middleman.entrypoints.cli.saying import FAILED, MISUSE, fail

if TYPE_CHECKING:
    from cluster.spec import ClusterSpec


def up(
    replicas: Annotated[int, typer.Option(help="How many replicas run, 1 to 9.")] = 3,
    data_dir: Annotated[Path, typer.Option(help="Where the servers keep their data and logs.")] = UP_DIR,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Throw away what is there, and start empty.")
    ] = False,
) -> None:
    """Run everything on this machine until Ctrl-C.

    PostgreSQL, a three-member etcd, the sandbox, the REST API and the replicas, each a process of its own.
    """
    from cluster.errors import ClusterError, DataDirLockedError
    from cluster.spec import ClusterSpec

    if not 1 <= replicas <= 9:
        fail(f"replicas={replicas}: must be from 1 to 9", MISUSE)
    spec = ClusterSpec(data_dir=data_dir, replicas=replicas, fresh=fresh)
    try:
        asyncio.run(_run(spec))
    except DataDirLockedError as error:
        fail(str(error), MISUSE)
    except (ClusterError, OSError) as error:
        fail(f"{error} (logs: {data_dir / 'logs'})", FAILED)
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("given up before everything was started; what ran is stopped", FAILED)


async def _run(spec: "ClusterSpec") -> None:
    from cluster.cluster import Cluster

    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None  # we run inside asyncio.run
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    async with Cluster(spec, progress=lambda done: print(done, file=sys.stderr)) as cluster:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        print(f"REST API   {cluster.apis[0].url}/v1   (OpenAPI: {cluster.apis[0].url}/openapi.json)")
        print(f"API key    {cluster.keys.api_key}")
        print(f"sandbox    {cluster.sandbox.url}   key {cluster.sandbox.api_key}")
        for replica in cluster.replicas:
            print(f"{replica.name:<10} {replica.url}/leader")
        print(f"data, logs {spec.data_dir}   judge it with: middleman judge --data-dir {spec.data_dir}")
        print("Ctrl-C stops everything; the data stays.", flush=True)
        await stop.wait()
        print("stopping", file=sys.stderr)
