"""The cluster on this machine as a target."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chaos.drive.access import Access
from chaos.drive.log_reader import LogReader
from chaos.drive.target import Need, Side, TargetError
from cluster.cluster import Cluster
from cluster.links import Link, ReplicaLinks
from cluster.spec import ClusterSpec
from cluster.together import gather_all

Settings = dict[str, dict[str, str]]


def local_spec(data_dir: Path, settings: Settings, *, replicas: int = 3) -> ClusterSpec:
    """A cluster that can be hurt in every way; replicas read `settings` anew at each launch."""
    return ClusterSpec(
        data_dir=data_dir, replicas=replicas, apis=2, fresh=True, links=True, extra_env=settings
    )


@dataclass(slots=True)
class LocalTarget:
    """Implements `Target` on a cluster that was made of a `local_spec` with the same `settings`."""

    cluster: Cluster
    settings: Settings
    _readers: dict[str, LogReader] = field(default_factory=dict)

    @property
    def access(self) -> Access:
        """The members' own addresses, past the links; but for PostgreSQL's, which a failover moves."""
        cluster, sandbox = self.cluster, self.cluster.sandbox
        return Access(
            api_urls=tuple(api.url for api in cluster.apis),
            api_key=cluster.keys.api_key,
            database_url=cluster.superuser_database_url,
            judge_database_url=cluster.judge_database_url,
            sandbox_url=sandbox.url,
            sandbox_api_key=sandbox.api_key,
            sandbox_admin_key=sandbox.admin_key,
            ops_urls={replica.name: replica.url for replica in cluster.replicas},
            ops_token=cluster.keys.ops_token,
            webhook_secret=cluster.keys.webhook_secret,
        )

    @property
    def can(self) -> frozenset[Need]:
        """Everything."""
        return frozenset(Need)

    @property
    def lease_ttl_s(self) -> int:
        """As the replicas were told."""
        return self.cluster.spec.lease_ttl_s

    @property
    def replicas(self) -> Sequence[str]:
        """Their names."""
        return [replica.name for replica in self.cluster.replicas]

    @property
    def etcd_members(self) -> Sequence[str]:
        """Their names."""
        return [member.name for member in self.cluster.etcd.members]

    @property
    def apis(self) -> Sequence[str]:
        """Their names."""
        return [api.name for api in self.cluster.apis]

    def is_running(self, name: str) -> bool:
        """As `Target.is_running`."""
        return self.cluster.member(name).is_running

    def is_paused(self, name: str) -> bool:
        """As `Target.is_paused`."""
        return self.cluster.member(name).is_paused

    def exit_code(self, name: str) -> int | None:
        """As `Target.exit_code`."""
        return self.cluster.member(name).exit_code

    async def answers(self, name: str) -> bool:
        """As `Target.answers`."""
        return await self.cluster.member(name).is_ready()

    async def raft_leader(self) -> str:
        """As `Target.raft_leader`."""
        return (await self.cluster.etcd.raft_leader()).name

    async def kill(self, name: str) -> None:
        """As `Target.kill`."""
        await self.cluster.member(name).kill()

    async def terminate(self, name: str) -> None:
        """As `Target.terminate`."""
        await self.cluster.member(name).stop()

    async def pause(self, name: str) -> None:
        """As `Target.pause`."""
        self.cluster.member(name).pause()

    async def resume(self, name: str) -> None:
        """As `Target.resume`."""
        self.cluster.member(name).resume()

    async def start(self, name: str) -> None:
        """As `Target.start`."""
        await self.cluster.member(name).start()

    async def launch(self, name: str) -> None:
        """As `Target.launch`."""
        await self.cluster.member(name).launch()

    async def relaunch(self, name: str, env: Mapping[str, str]) -> None:
        """As `Target.relaunch`."""
        self.settings[name] = dict(env)
        await self.kill(name)
        await self.launch(name)

    async def restore(self) -> None:
        """As `Target.restore`."""
        await gather_all([self.start(name) for name in await self._end_relaunched()])

    async def cut(self, replica: str, *sides: Side) -> None:
        """As `Target.cut`."""
        for link in links_to(self.cluster.links(replica), *sides):
            link.cut()

    async def mend(self, replica: str, *sides: Side) -> None:
        """As `Target.mend`."""
        links = self.cluster.links(replica)
        for link in links_to(links, *sides) if sides else links.all:
            link.heal()

    async def heal(self) -> None:
        """As `Target.heal`."""
        await self._end_relaunched()
        await self.cluster.heal()

    async def _end_relaunched(self) -> list[str]:
        """Nobody runs with other settings than the usual any more; who did, and is down now."""
        changed = [name for name, env in self.settings.items() if env]
        self.settings.clear()
        await gather_all([self.kill(name) for name in changed])
        return changed

    def log(self, name: str) -> list[dict[str, Any]]:
        """As `Target.log`."""
        path = self.cluster.member(name).log_path
        return self._readers.setdefault(name, LogReader(path)).lines()


def links_to(links: ReplicaLinks, *sides: Side) -> list[Link]:
    """The links of one replica to these sides. Raises `TargetError` when there is no sandbox behind them."""
    found: list[Link] = []
    for side in sides:
        match side:
            case Side.ETCD:
                found += links.etcd
            case Side.POSTGRES:
                found.append(links.postgres)
            case Side.PEERS:
                found.append(links.peer)
            case Side.PROCESSOR:
                if links.processor is None:
                    raise TargetError("no link leads to the processor: this cluster charges at Stripe itself")
                found.append(links.processor)
    return found
