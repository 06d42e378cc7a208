"""A running compose stack as a target: its containers are killed, frozen, and taken off their networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.drive.access import Access
from chaos.drive.compose_engine import CALL_TIMEOUT_S, Engine
from chaos.drive.compose_log import ContainerLog
from chaos.drive.compose_members import Members
from chaos.drive.compose_place import API_PORT, SANDBOX_URL, Place
from chaos.drive.compose_probes import Probes
from chaos.drive.eyes import until
from chaos.drive.target import EVERYTHING, Need, Side, TargetError
from cluster.cluster import Cluster
from cluster.together import gather_all

START_TIMEOUT_S = 60.0
RAFT_TIMEOUT_S = 15.0
STOP_GRACE_S = 20
"""Longer than any service's `stop_grace_period`, after which the engine kills."""
OPS_PORT = 9000
LOOKING = "operations"
"""The network by which replicas are looked at; it is never cut."""
NETWORKS: Mapping[Side, str] = {
    Side.ETCD: "coordination",
    Side.POSTGRES: "data",
    Side.PROCESSOR: "processor",
    Side.PEERS: "pulses",
}


@dataclass(slots=True)
class ComposeTarget:
    """Implements `Target` inside a container of the project; see `compose_stack`."""

    engine: Engine
    place: Place
    members: Members
    networks: Mapping[str, str]
    probes: Probes
    _logs: dict[str, ContainerLog] = field(default_factory=dict)
    _addresses: dict[str, str] = field(default_factory=dict)
    _cut: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    """Aliases by replica and network, for as long as it is off it."""

    @property
    def access(self) -> Access:
        """By networks that are never cut. A replica may have another address after each start."""
        hosts = tuple(self.members.container(name)[:12] for name in self.members.apis)
        return self.place.access(hosts, {name: self._ops_url(name) for name in self.replicas})

    @property
    def can(self) -> frozenset[Need]:
        """Whole networks only, with the settings of the compose file; a second API where there is one."""
        return frozenset({Need.SECOND_API} if len(self.apis) > 1 else ())

    @property
    def lease_ttl_s(self) -> int:
        """As the replicas were told."""
        return int(self.members.state(self.replicas[0]).env["MIDDLEMAN_LEASE_TTL_S"])

    @property
    def replicas(self) -> Sequence[str]:
        """Their containers' short ids."""
        return self.members.replicas

    @property
    def etcd_members(self) -> Sequence[str]:
        """Their services' names."""
        return self.members.etcd

    @property
    def apis(self) -> Sequence[str]:
        """`api-1`, …, by their containers' numbers."""
        return self.members.apis

    @property
    def cluster(self) -> Cluster:
        """There is none."""
        raise TargetError(
            "a compose stack has no links of ours and no files at hand: only a local cluster does"
        )

    def is_running(self, name: str) -> bool:
        """As `Target.is_running`; a holder whose container was removed meanwhile does not run."""
        return name in self.members.ids and self.members.state(name).running

    def is_paused(self, name: str) -> bool:
        """As `Target.is_paused`."""
        return self.members.state(name).paused

    def exit_code(self, name: str) -> int | None:
        """As `Target.exit_code`."""
        return self.members.state(name).exit_code

    async def answers(self, name: str) -> bool:
        """As `Target.answers`."""
        if not self.is_running(name):
            return False
        if name in self.etcd_members:
            return await self.probes.etcd_is_healthy(self._address(name, "coordination"))
        if name == "postgres":
            return await self.probes.database_serves(self.access.database_url)
        if name == "sandbox":
            return await self.probes.succeeds(f"{SANDBOX_URL}/livez")
        if name in self.apis:
            return await self.probes.succeeds(f"http://{self._address(name, 'front')}:{API_PORT}/readyz")
        return await self.probes.succeeds(f"{self._ops_url(name)}/readyz")

    async def raft_leader(self) -> str:
        """As `Target.raft_leader`."""

        async def look() -> str | None:
            running = [name for name in self.etcd_members if self.is_running(name)]
            hosts = {name: self._address(name, "coordination") for name in self.etcd_members}
            found = await self.probes.raft_leader(hosts)
            return found if found in running else None

        try:
            return await until(look, RAFT_TIMEOUT_S)
        except TimeoutError:
            raise TargetError(f"etcd's members agree on no leader within {RAFT_TIMEOUT_S:g} s") from None

    async def kill(self, name: str) -> None:
        """As `Target.kill`. The engine does not restart what was killed by its own hand."""
        await self._act(name, "kill", signal="SIGKILL")
        await self._gone(name)

    async def terminate(self, name: str) -> None:
        """As `Target.terminate`."""
        await self._act(name, "stop", timeout_s=2.0 * STOP_GRACE_S, t=str(STOP_GRACE_S))
        await self._gone(name)

    async def pause(self, name: str) -> None:
        """As `Target.pause`."""
        await self._act(name, "pause")

    async def resume(self, name: str) -> None:
        """As `Target.resume`."""
        self.members.changed(name)
        if self.is_paused(name):
            await self._act(name, "unpause")

    async def start(self, name: str) -> None:
        """As `Target.start`."""
        await self.launch(name)

        async def look() -> bool | None:
            return await self.answers(name) or None

        try:
            await until(look, START_TIMEOUT_S)
        except TimeoutError:
            raise TargetError(f"{name} is not ready within {START_TIMEOUT_S:g} s after its start") from None

    async def launch(self, name: str) -> None:
        """As `Target.launch`."""
        await self.resume(name)
        await self._act(name, "start")

    async def relaunch(self, name: str, env: Mapping[str, str]) -> None:
        """Not here: a container keeps the settings that it was made with."""
        raise TargetError(f"{name} cannot be started with {', '.join(env)}: its container keeps its settings")

    async def restore(self) -> None:
        """Nothing to do: nobody was relaunched."""

    async def cut(self, replica: str, *sides: Side) -> None:
        """As `Target.cut`, but the replica itself is told by its kernel that there is no such network any more."""
        await gather_all([self._disconnect(replica, NETWORKS[side]) for side in sides])

    async def mend(self, replica: str, *sides: Side) -> None:
        """As `Target.mend`."""
        await gather_all([self._connect(replica, NETWORKS[side]) for side in sides or EVERYTHING])

    async def heal(self) -> None:
        """As `Target.heal`."""
        await self.undo()
        await gather_all([self.start(name) for name in self.members.ids])

    async def undo(self) -> None:
        """Everything is connected, nobody is frozen, everybody was started; not waited for."""
        await gather_all([self._connect(replica, network) for replica, network in list(self._cut)])
        await gather_all([self.launch(name) for name in self.members.ids if not self._is_well(name)])

    def log(self, name: str) -> list[dict[str, Any]]:
        """As `Target.log`."""
        container = self.members.container(name)
        return self._logs.setdefault(name, ContainerLog(self.engine, container)).lines()

    def _is_well(self, name: str) -> bool:
        self.members.changed(name)
        state = self.members.state(name)
        return state.running and not state.paused

    def _ops_url(self, name: str) -> str:
        return f"http://{self._address(name, LOOKING)}:{OPS_PORT}"

    def _address(self, name: str, network: str) -> str:
        """By which it is reached there, or was when it last ran: so nothing depends on names of who is gone."""
        found = self.members.state(name).addresses.get(self.networks[network])
        if found:
            self._addresses[name] = found
        return self._addresses.get(name, "0.0.0.0")  # noqa: S104  # nobody is there: nothing is bound to it

    async def _act(self, name: str, verb: str, timeout_s: float = CALL_TIMEOUT_S, **how: str) -> None:
        try:
            await self.engine.act(self.members.container(name), verb, timeout_s, **how)
        finally:
            self.members.changed(name)

    async def _gone(self, name: str) -> None:
        await self._act(name, "wait", condition="not-running")

    async def _disconnect(self, replica: str, network: str) -> None:
        aliases = self.members.state(replica).aliases.get(self.networks[network])
        if aliases is None or (replica, network) in self._cut:
            return
        self._cut[replica, network] = aliases
        await self.engine.disconnect(self.networks[network], self.members.container(replica))
        self.members.changed(replica)

    async def _connect(self, replica: str, network: str) -> None:
        aliases = self._cut.get((replica, network))
        if aliases is None:
            return
        self.members.changed(replica)
        if self.networks[network] not in self.members.state(replica).aliases:
            await self.engine.connect(self.networks[network], self.members.container(replica), aliases)
            self.members.changed(replica)
        del self._cut[replica, network]
