"""`middleman chaos prove-judge`: a cluster of its own, every control on it, and the answer."""

import asyncio
from pathlib import Path

from chaos.drive.local import Settings
from chaos.failover.show import Say
from chaos.failover.show import say as on_stderr
from chaos.interruption import interruptible
from chaos.prove.proof import Proofs
from chaos.prove.proving import prove
from chaos.prove.world import World
from cluster.cluster import Cluster
from cluster.spec import ClusterSpec

REPLICAS = 2
LEASE_TTL_S = 3
"""The shortest that the timing rules allow: a frozen leader is waited for that long."""


async def show(data_dir: Path, *, say: Say = on_stderr) -> Proofs:
    """Play every control on a cluster of its own on an empty `data_dir`, and stop it.

    Raises what starting a cluster raises. Ctrl-C or SIGTERM gives up with `CancelledError`, once everything is stopped:
    controls that were not played prove nothing.
    """
    settings: Settings = {}
    spec = ClusterSpec(
        data_dir=data_dir, replicas=REPLICAS, apis=0, fresh=True, lease_ttl_s=LEASE_TTL_S, extra_env=settings
    )
    with interruptible(asyncio.Event()):
        async with Cluster(spec, progress=say) as cluster:
            proofs = await prove(World(cluster, settings), say=say)
            say("stopping the servers")
    return proofs
