"""What is done to the leader, and how it is undone."""

import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.failover.plan import Kind
from cluster.cluster import Cluster
from cluster.process import ManagedProcess


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike` returns at once; `undo` when the victim runs again and is reachable, not when it is ready."""

    told: str
    strike: Callable[[ManagedProcess], None]
    undo: Callable[[ManagedProcess], Awaitable[None]]


def fault(kind: Kind, cluster: Cluster) -> Fault:
    """The fault of that kind; a partition needs a cluster with links."""

    def cut(victim: ManagedProcess) -> None:
        cluster.links(victim.name).etcd.cut()

    async def heal(victim: ManagedProcess) -> None:
        cluster.links(victim.name).etcd.heal()

    match kind:
        case Kind.CRASH:
            return Fault("SIGKILL", lambda victim: victim.send_signal(signal.SIGKILL), _restart_killed)
        case Kind.GRACEFUL:
            return Fault("SIGTERM", lambda victim: victim.send_signal(signal.SIGTERM), _restart_stopped)
        case Kind.FREEZE:
            return Fault("SIGSTOP", ManagedProcess.pause, _resume)
        case Kind.PARTITION:
            return Fault("cut off from etcd", cut, heal)


async def _restart_killed(victim: ManagedProcess) -> None:
    await victim.kill()
    await victim.launch()


async def _restart_stopped(victim: ManagedProcess) -> None:
    await victim.stop()  # it was told already; this waits, and ends what ignores it
    await victim.launch()


async def _resume(victim: ManagedProcess) -> None:
    victim.resume()
