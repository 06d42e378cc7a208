"""The members of one cluster, made from its spec but not started, and the ports that they keep."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cluster.app import AppContext, api_member, replica_links, replica_member
from cluster.etcd import EtcdCluster
from cluster.keys import ClusterKeys
from cluster.links import Link, ReplicaLinks
from cluster.ports import HOST, ReservedPort, reserve_port
from cluster.postgres import PostgresServer
from cluster.process import ManagedProcess
from cluster.sandbox import SandboxServer
from cluster.spec import ClusterSpec
from cluster.together import gather_all

PORTS_FILE = "ports.json"
_EVENTS = ("payment_intent.succeeded", "payment_intent.canceled")


@dataclass(frozen=True, slots=True)
class Topology:
    """Who belongs to the cluster."""

    context: AppContext
    postgres: PostgresServer
    etcd: EtcdCluster
    sandbox: SandboxServer | None
    apis: tuple[ManagedProcess, ...]
    replicas: tuple[ManagedProcess, ...]
    links: Mapping[str, ReplicaLinks]
    postgres_address: Link | None
    app_ports: tuple[ReservedPort, ...]

    @classmethod
    def build(cls, spec: ClusterSpec, keys: ClusterKeys) -> Self:
        """Reserves ports, those of the last run where they are free, and makes the members."""
        logs = spec.data_dir / "logs"
        kept = _kept_ports(spec.data_dir)
        postgres = PostgresServer(
            spec.data_dir / "postgres",
            preferred_port=kept.get("postgres"),
            tuning=spec.postgres_tuning,
            log_path=logs / "postgres.log",
        )
        etcd = EtcdCluster(
            spec.data_dir / "etcd", members=spec.etcd_members, timing=spec.etcd_timing, log_dir=logs
        )
        apis = {name: reserve_port(kept.get(name)) for name in _names("api", spec.apis)}
        webhooks = _webhooks(apis["api-1"], keys) if spec.webhooks else ()
        sandbox = _sandbox(spec, keys, kept.get("sandbox"), logs, webhooks) if spec.with_sandbox else None
        address = Link("the address of PostgreSQL", f"{HOST}:{postgres.port}") if spec.links else None
        context = AppContext(
            spec=spec,
            keys=keys,
            postgres=postgres,
            postgres_port=address.port if address is not None else postgres.reserved_port,
            etcd_endpoints=etcd.endpoints,
            stripe_api_key=sandbox.api_key if sandbox is not None else spec.stripe_api_key or "",
            stripe_api_base=sandbox.url if sandbox is not None else "",
        )
        replicas = {name: reserve_port(kept.get(name)) for name in _names("replica", spec.replicas)}
        links = {
            name: replica_links(context, name, port.number) for name, port in replicas.items() if spec.links
        }
        topology = cls(
            context=context,
            postgres=postgres,
            etcd=etcd,
            sandbox=sandbox,
            apis=tuple(api_member(context, name, port.number) for name, port in apis.items()),
            replicas=tuple(
                replica_member(context, name, port.number, links.get(name)) for name, port in replicas.items()
            ),
            links=links,
            postgres_address=address,
            app_ports=(*apis.values(), *replicas.values()),
        )
        topology._keep_ports()
        return topology

    @property
    def members(self) -> tuple[ManagedProcess, ...]:
        """Every process, servers first."""
        sandbox = (self.sandbox,) if self.sandbox is not None else ()
        return (self.postgres, *self.etcd.members, *sandbox, *self.apis, *self.replicas)

    def stop_stages(self) -> tuple[Callable[[], Awaitable[None]], ...]:
        """What to call, one after the other, to take everything down: who needs others goes first."""
        sandbox = (self.sandbox.close,) if self.sandbox is not None else ()
        return (
            self._stop_replicas,
            lambda: gather_all(api.stop() for api in self.apis),
            *((self.postgres_address.close,) if self.postgres_address is not None else ()),
            *sandbox,
            self.etcd.close,
            self.postgres.close,
        )

    def start_links(self) -> None:
        """Lets the links listen; what they lead to need not be there yet."""
        if self.postgres_address is not None:
            self.postgres_address.start()
        for links in self.links.values():
            for link in links.all:
                link.start()

    async def _stop_replicas(self) -> None:
        """Heals the links first: who is cut off cannot take its leave."""
        for links in self.links.values():
            links.all.heal()
        await gather_all(replica.stop() for replica in self.replicas)
        await gather_all(link.close() for links in self.links.values() for link in links.all)

    def release_ports(self) -> None:
        """Gives the ports of API and replicas back; the servers release theirs when they close."""
        for port in self.app_ports:
            port.release()

    def _keep_ports(self) -> None:
        numbers = {each.name: each.port for each in self.members if each.kind != "etcd"}
        (self.context.spec.data_dir / PORTS_FILE).write_text(json.dumps(numbers, indent=2))


def _kept_ports(data_dir: Path) -> dict[str, int]:
    path = data_dir / PORTS_FILE
    kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    return kept


def _names(kind: str, count: int) -> list[str]:
    return [f"{kind}-{number}" for number in range(1, count + 1)]


def _webhooks(api: ReservedPort, keys: ClusterKeys) -> tuple[str, ...]:
    """The sandbox's options to deliver to that API what it takes."""
    return (
        *("--webhook-url", f"http://{HOST}:{api.number}/webhooks/stripe"),
        *("--webhook-secret", keys.webhook_secret),
        *(word for event in _EVENTS for word in ("--webhook-event", event)),
    )


def _sandbox(
    spec: ClusterSpec, keys: ClusterKeys, preferred_port: int | None, logs: Path, options: tuple[str, ...]
) -> SandboxServer:
    return SandboxServer(
        spec.data_dir / "sandbox",
        api_key=keys.sandbox_api_key,
        admin_key=keys.sandbox_admin_key,
        preferred_port=preferred_port,
        command=spec.commands.sandbox,
        options=(*options, *spec.sandbox_options),
        env=spec.env_for("sandbox", "sandbox"),
        log_path=logs / "sandbox.log",
    )
