"""A real etcd cluster on this machine, whose members can be killed, frozen and restarted one by one."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster import etcd_snapshot
from cluster.environment import clean_environment
from cluster.errors import ClusterError
from cluster.etcd_binary import etcd_binary
from cluster.health import answers_ok
from cluster.leashed import Command
from cluster.ports import HOST, ReservedPort, reserve_port
from cluster.process import ManagedProcess
from cluster.raft import find_raft_leader
from cluster.together import gather_all, start_all

_LEADER_AT_STOP_TIMEOUT_S = 1.5
_TOKEN = "middleman"  # noqa: S105  # goes into the cluster's id, is no secret


@dataclass(frozen=True, slots=True)
class EtcdTiming:
    """Raft's clock, and whether it waits for the disk."""

    heartbeat_interval_ms: int = 50
    election_timeout_ms: int = 500
    unsafe_no_fsync: bool = False


class EtcdMember(ManagedProcess):
    """One member; `endpoint` is what clients are given, `host:port`."""

    def __init__(
        self,
        name: str,
        directory: Path,
        client: ReservedPort,
        peer: ReservedPort,
        initial_cluster: Mapping[str, str],
        timing: EtcdTiming,
        log_path: Path,
    ) -> None:
        """`initial_cluster` names the peer URL of every member, this one included."""
        self.directory = directory
        self.peer_port = peer.number
        self._reserved = (client, peer)
        self._initial_cluster = initial_cluster
        self._timing = timing
        url = f"http://{HOST}:{client.number}"
        super().__init__(
            name=name,
            kind="etcd",
            command=self._member_command,
            log_path=log_path,
            probe=lambda: answers_ok(f"{url}/health"),  # 200 only once raft has a leader
            port=client.number,
            url=url,
            stop_timeout_s=4.0,  # etcd takes 1 s to close its streams, and is safe against SIGKILL
        )

    @property
    def endpoint(self) -> str:
        return f"{HOST}:{self.port}"

    def release(self) -> None:
        """Gives the ports back."""
        for port in self._reserved:
            port.release()

    def _member_command(self) -> Command:
        peer_url = self._initial_cluster[self.name]
        options: dict[str, str] = {
            "name": self.name,
            "data-dir": str(self.directory),
            "listen-client-urls": self.url,
            "advertise-client-urls": self.url,
            "listen-peer-urls": peer_url,
            "initial-advertise-peer-urls": peer_url,
            "initial-cluster": ",".join(f"{name}={peer}" for name, peer in self._initial_cluster.items()),
            "initial-cluster-state": "new",
            "initial-cluster-token": _TOKEN,
            "heartbeat-interval": str(self._timing.heartbeat_interval_ms),
            "election-timeout": str(self._timing.election_timeout_ms),
            "pre-vote": "true",
            "auto-compaction-mode": "periodic",
            "auto-compaction-retention": "5m",
            "logger": "zap",
            "log-level": "warn",
            "log-outputs": "stderr",
        }
        if self._timing.unsafe_no_fsync:
            options["unsafe-no-fsync"] = "true"
        argv = (etcd_binary(), *(f"--{key}={value}" for key, value in options.items()))
        return Command(argv, clean_environment())


class EtcdCluster:
    """Members `etcd-1` … `etcd-N` with their data below `directory`; also an async context manager.

    Ports are kept in `ports.json`, because a member's peer address is part of etcd's own data. When one
    of them is taken by somebody else, the data is made anew: it holds the election and nothing that has to
    last, since the fence is in Postgres.
    """

    def __init__(
        self,
        directory: Path,
        *,
        members: int = 3,
        timing: EtcdTiming | None = None,
        log_dir: Path | None = None,
        fresh: bool = False,
    ) -> None:
        """`fresh` removes existing data."""
        if members < 1:
            raise ValueError(f"members={members}: an etcd cluster has at least one member, usually three")
        self._directory = directory.absolute()
        self._tools_log = (log_dir or self._directory) / "etcd-tools.log"
        names = [f"etcd-{number}" for number in range(1, members + 1)]
        ports = self._reserve(names, fresh=fresh)
        self._peers = {name: f"http://{HOST}:{peer.number}" for name, (_, peer) in ports.items()}
        self.members = tuple(
            EtcdMember(
                name,
                self._directory / name,
                *ports[name],
                initial_cluster=self._peers,
                timing=timing or EtcdTiming(),
                log_path=(log_dir or self._directory) / f"{name}.log",
            )
            for name in names
        )

    async def __aenter__(self) -> Self:
        try:
            return await self.start()
        except BaseException:
            await self.close()
            raise

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """`host:port` of every member, alive or not."""
        return tuple(member.endpoint for member in self.members)

    async def start(self) -> Self:
        """Starts all members at once and waits until each answers as part of a cluster with a raft leader."""
        await start_all(member.start() for member in self.members)
        return self

    async def stop(self) -> None:
        """Stops all members; ports and data stay.

        The raft leader goes last: on SIGTERM it tries for 5 s to hand over to members that are stopping too.
        """
        leader = None
        if sum(member.is_running and not member.is_paused for member in self.members) * 2 > len(self.members):
            with contextlib.suppress(ClusterError):
                leader = await self.raft_leader(_LEADER_AT_STOP_TIMEOUT_S)
        await gather_all(member.stop() for member in self.members if member is not leader)
        if leader is not None:
            await leader.stop()

    async def close(self) -> None:
        """Stops all members and gives the ports back; the data stays."""
        try:
            await self.stop()
        finally:
            for member in self.members:
                member.release()

    async def heal(self) -> None:
        """Resumes what is frozen, starts what is down, and waits until every member is healthy."""
        for member in self.members:
            if member.is_paused:
                member.resume()
        await self.start()

    async def snapshot(self, path: Path) -> None:
        """Writes all that etcd holds to `path`, as its raft leader knows it; raises `ClusterError`."""
        await etcd_snapshot.save((await self.raft_leader()).url, path, self._tools_log)

    async def restore(self, path: Path) -> None:
        """Kills all members and starts them with what a snapshot holds: revisions go back, leases and keys with them.

        Raises `ClusterError`; unless its data could be made from the snapshot, the cluster is left as it was.
        """
        drafts = {member.name: member.directory.with_suffix(".restored") for member in self.members}
        for draft in drafts.values():
            shutil.rmtree(draft, ignore_errors=True)
        await etcd_snapshot.restore(path, drafts, self._peers, _TOKEN, self._tools_log)
        await gather_all(member.kill() for member in self.members)
        for member in self.members:
            shutil.rmtree(member.directory, ignore_errors=True)
            drafts[member.name].rename(member.directory)
        await self.start()

    async def raft_leader(self, timeout_s: float = 10.0) -> EtcdMember:
        """The member that leads raft, by the highest raft term any member reports; raises `ClusterError`."""
        try:
            async with asyncio.timeout(timeout_s):
                while (leader := await find_raft_leader(self.members)) is None:  # noqa: ASYNC110  # another process's state
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ClusterError(
                f"no etcd member led raft for {timeout_s:g} s: {', '.join(map(repr, self.members))}"
            ) from None
        return leader

    def _reserve(self, names: Sequence[str], *, fresh: bool) -> dict[str, tuple[ReservedPort, ReservedPort]]:
        record = self._directory / "ports.json"
        if fresh:
            shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True, exist_ok=True)
        kept: dict[str, list[int]] = json.loads(record.read_text()) if record.exists() else {}
        ports: dict[str, tuple[ReservedPort, ReservedPort]] = {}
        for name in names:
            client, peer = kept.get(name, (None, None))
            ports[name] = (reserve_port(client), reserve_port(peer))
        numbers = {name: [client.number, peer.number] for name, (client, peer) in ports.items()}
        if {name: pair[1] for name, pair in kept.items()} != {
            name: pair[1] for name, pair in numbers.items()
        }:
            for data in self._directory.glob("etcd-*"):
                if data.is_dir():
                    shutil.rmtree(data)
        record.write_text(json.dumps(numbers))
        return ports
