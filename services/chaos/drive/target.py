"""The verbs by which a running system is hurt: the same for the cluster on this machine and for compose."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Protocol

from chaos.drive.access import Access
from cluster.cluster import Cluster


class Need(StrEnum):
    """What not every target can do; a scenario that needs it is skipped, with the reason, where it is missing."""

    LINKS = "links"
    """Each link apart, and each direction of it."""
    RELAUNCH = "relaunch"
    """Replicas started anew with other settings, such as failpoints."""
    DATA = "data"
    """The servers' own files: etcd's snapshots, the database's write-ahead log."""
    STANDBY = "standby"
    """A hot standby of the database, promoted while the old primary comes back at the same address."""
    SECOND_API = "second-api"
    """More than one process of the REST API."""


class Side(StrEnum):
    """What a replica can be cut off from."""

    ETCD = "etcd"
    POSTGRES = "postgres"
    PROCESSOR = "processor"
    PEERS = "peers"
    """The way in: by it the other replicas feel its pulse."""


EVERYTHING = tuple(Side)


class TargetError(Exception):
    """The target cannot do what was asked of it; the message says what, and why."""


class Target(Protocol):
    """A running system. Members are known by name: `postgres`, `etcd-1`, `sandbox`, `api-1`, `replica-1`, …

    Verbs raise `TargetError` or `cluster.errors.ClusterError` when they cannot be carried out.
    """

    @property
    def access(self) -> Access: ...

    @property
    def can(self) -> frozenset[Need]:
        """What this target can do beyond the verbs that all have."""
        ...

    @property
    def lease_ttl_s(self) -> int: ...

    @property
    def replicas(self) -> Sequence[str]: ...

    @property
    def etcd_members(self) -> Sequence[str]: ...

    @property
    def apis(self) -> Sequence[str]: ...

    @property
    def cluster(self) -> Cluster:
        """The cluster on this machine, for what only it can do (see `Need`); raises `TargetError` elsewhere."""
        ...

    def is_running(self, name: str) -> bool:
        """Whether the process exists; a frozen one does."""
        ...

    def is_paused(self, name: str) -> bool:
        """Whether it is frozen."""
        ...

    def exit_code(self, name: str) -> int | None:
        """Of the last run, negative for a signal; None while it runs."""
        ...

    async def answers(self, name: str) -> bool:
        """Whether it says, in a second or two, that it is ready for work; an etcd member needs a quorum for that."""
        ...

    async def raft_leader(self) -> str:
        """Which etcd member leads the others, once a majority agrees on one; waits for that, bounded."""
        ...

    async def kill(self, name: str) -> None:
        """SIGKILL; returns when the process is gone, and it stays gone until `start`."""
        ...

    async def terminate(self, name: str) -> None:
        """SIGTERM; returns when the process is gone, and it stays gone until `start`."""
        ...

    async def pause(self, name: str) -> None:
        """Freeze it."""
        ...

    async def resume(self, name: str) -> None:
        """Let it go on; nothing happens to one that is not frozen."""
        ...

    async def start(self, name: str) -> None:
        """Start it and wait until it is ready; nothing happens to one that is."""
        ...

    async def launch(self, name: str) -> None:
        """Start it and do not wait."""
        ...

    async def relaunch(self, name: str, env: Mapping[str, str]) -> None:
        """Kill a replica and start it with these settings beside its usual ones; not waited for. `Need.RELAUNCH`.

        They last until `restore`.
        """
        ...

    async def restore(self) -> None:
        """Every replica has its usual settings again: those that were relaunched are restarted, and ready."""
        ...

    async def cut(self, replica: str, *sides: Side) -> None:
        """Nothing passes between the replica and these sides any more, in either direction, and nobody is told."""
        ...

    async def mend(self, replica: str, *sides: Side) -> None:
        """Everything passes again between the replica and these sides; without any, between it and all."""
        ...

    async def heal(self) -> None:
        """Everything passes, nobody is frozen, everybody runs with the usual settings and is ready."""
        ...

    def log(self, name: str) -> list[dict[str, Any]]:
        """Every structured line that a member of the application has logged so far, oldest first."""
        ...
