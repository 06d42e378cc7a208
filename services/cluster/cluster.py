"""The whole cluster: PostgreSQL, etcd and sandbox at once, then the schema, then API and replicas."""

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Self

from cluster import postgres_files
from cluster.app import migrate
from cluster.errors import ClusterError
from cluster.etcd import EtcdCluster
from cluster.keys import ClusterKeys
from cluster.links import ReplicaLinks
from cluster.lock import DataDirLock
from cluster.postgres import PostgresServer
from cluster.postgres_failover import PostgresFailover, with_standby
from cluster.process import ManagedProcess
from cluster.sandbox import SandboxServer
from cluster.spec import ClusterSpec
from cluster.state import FILE as STATE_FILE
from cluster.state import ClusterState, MemberState, SandboxState
from cluster.together import start_all
from cluster.topology import PORTS_FILE, Topology


class Cluster:
    """A running cluster, as an async context manager; its members exist while it runs.

    Meanwhile `<data_dir>/state.json` describes it to other processes. On the way out members are stopped
    in the order replicas, API, sandbox, etcd, PostgreSQL; the data stays for the next start.
    """

    def __init__(self, spec: ClusterSpec, *, progress: Callable[[str], None] = lambda _: None) -> None:
        """`progress` is told in a few words whenever a step of the start is done."""
        self.spec = replace(spec, data_dir=spec.data_dir.absolute())
        self.ready_after_s: dict[str, float] = {}
        """Seconds from the beginning of the start until each member was ready."""
        self._progress = progress
        self._lock = DataDirLock(self.spec.data_dir)
        self._keys: ClusterKeys | None = None
        self._topology: Topology | None = None
        self._published = False
        self._started_at_s = 0.0

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> Self:
        """Starts everything and returns when every member is ready; on failure stops what had started.

        Raises `DataDirLockedError`, and `StartError` naming the member, its exit code and its log's end.
        """
        self._lock.acquire()
        self._started_at_s = time.monotonic()
        try:
            self._keys = await asyncio.to_thread(self._prepare)
            self._topology = await asyncio.to_thread(Topology.build, self.spec, self._keys)
            await self._start_members(self._topology)
            self._published = True
            self._publish()
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Stops everything in order, each member within its bound; repeats are harmless."""
        self._published = False
        topology, self._topology = self._topology, None
        failures: list[Exception] = []
        if topology is not None:
            (self.spec.data_dir / STATE_FILE).unlink(missing_ok=True)
            for stage in topology.stop_stages():
                try:
                    await stage()
                except Exception as error:  # noqa: BLE001  # the stages after it are stopped all the same
                    failures.append(error)
            topology.release_ports()
        self._lock.release()
        if failures:
            raise ExceptionGroup("the cluster did not stop cleanly", failures)

    @property
    def postgres(self) -> PostgresServer:
        return self._running.postgres

    @property
    def etcd(self) -> EtcdCluster:
        return self._running.etcd

    @property
    def sandbox(self) -> SandboxServer:
        """Raises `ClusterError` in a cluster that talks to Stripe itself."""
        if self._running.sandbox is None:
            raise ClusterError("this cluster has no sandbox: it was specified with with_sandbox=False")
        return self._running.sandbox

    @property
    def apis(self) -> tuple[ManagedProcess, ...]:
        return self._running.apis

    @property
    def replicas(self) -> tuple[ManagedProcess, ...]:
        return self._running.replicas

    @property
    def members(self) -> tuple[ManagedProcess, ...]:
        """Every process, servers first."""
        return self._running.members

    @property
    def keys(self) -> ClusterKeys:
        """API key, sandbox keys, passwords, and the token of the replicas' operations endpoints."""
        return self._running.context.keys

    @property
    def judge_database_url(self) -> str:
        """For the judge's role, which may only read."""
        return self.postgres.dsn(
            user="middleman_judge", password=self.keys.db_password_judge, port=self._postgres_port
        )

    @property
    def superuser_database_url(self) -> str:
        """For the superuser, by the address that a failover moves."""
        return self.postgres.dsn(port=self._postgres_port)

    @contextlib.asynccontextmanager
    async def postgres_failover(self) -> AsyncIterator[PostgresFailover]:
        """Inside, PostgreSQL has a hot standby and can fail over to it. Afterwards everything is as it was before.

        Raises `ClusterError` in a cluster without links: its processes lead to one server for good.
        """
        running = self._running
        if running.postgres_address is None:
            raise ClusterError(
                "no address of PostgreSQL to move: this cluster was specified with links=False"
            )
        directory = self.spec.data_dir / "postgres-standby"
        postgres_files.wipe(directory)
        standby = PostgresServer(
            directory,
            tuning=self.spec.postgres_tuning,
            log_path=self.spec.data_dir / "logs" / "postgres-standby.log",
            name="postgres-standby",
        )
        addresses = [running.postgres_address, *(links.postgres for links in running.links.values())]
        async with with_standby(self.postgres, standby, directory, addresses) as failover:
            yield failover

    def member(self, name: str) -> ManagedProcess:
        """A member by its name: `postgres`, `etcd-1`, `sandbox`, `api-1`, `replica-1`, …"""
        for member in self.members:
            if member.name == name:
                return member
        raise ClusterError(f"no member {name!r}: there are {', '.join(each.name for each in self.members)}")

    def links(self, replica: str) -> ReplicaLinks:
        """The links of one replica, by its name; raises `ClusterError` in a cluster without links."""
        found = self._running.links.get(replica)
        if found is None:
            named = ", ".join(self._running.links) or "none: it was specified with links=False"
            raise ClusterError(f"no links of {replica!r}: this cluster has {named}")
        return found

    async def heal(self) -> None:
        """Ends every fault that a cluster knows of, whichever there are, and waits until every member is ready.

        Links pass, what is frozen or stutters goes on, a full disk has room, what is down is started: servers
        first, because who needs them might give up waiting. Faults inside the sandbox are its own.
        """
        running = self._running
        for links in running.links.values():
            links.all.heal()
        for member in self.members:
            member.resume()
        await running.postgres.make_room()
        apps = (*running.apis, *running.replicas)
        await start_all(member.start() for member in self.members if member not in apps)
        await start_all(member.start() for member in apps)

    def state(self) -> ClusterState:
        """What `state.json` says."""
        sandbox = self._running.sandbox
        return ClusterState(
            supervisor_pid=os.getpid(),
            environment=self.spec.environment,
            api_urls=tuple(api.url for api in self.apis),
            api_key=self.keys.api_key,
            ops_token=self.keys.ops_token,
            judge_database_url=self.judge_database_url,
            superuser_database_url=self.superuser_database_url,
            etcd_endpoints=self.etcd.endpoints,
            sandbox=SandboxState(sandbox.url, sandbox.api_key, sandbox.admin_key) if sandbox else None,
            members=tuple(
                MemberState(each.name, each.kind, each.pid, each.port, each.url, str(each.log_path))
                for each in self.members
            ),
        )

    @property
    def _postgres_port(self) -> int:
        return self._running.context.postgres_port

    @property
    def _running(self) -> Topology:
        if self._topology is None:
            raise ClusterError(f"the cluster on {self.spec.data_dir} is not running: start it first")
        return self._topology

    def _prepare(self) -> ClusterKeys:
        data_dir = self.spec.data_dir
        if self.spec.fresh:
            # Only what is ours: the directory may have been given by mistake.
            postgres_files.wipe(data_dir / "postgres")
            for name in ("etcd", "sandbox", "logs"):
                shutil.rmtree(data_dir / name, ignore_errors=True)
            for name in ("keys.json", PORTS_FILE, STATE_FILE):
                (data_dir / name).unlink(missing_ok=True)
        return ClusterKeys.load_or_generate(data_dir)

    async def _start_members(self, topology: Topology) -> None:
        for member in topology.members:
            member.on_change = self._publish
        topology.start_links()
        servers = [
            self._timed("postgres", topology.postgres.start()),
            self._timed("etcd", topology.etcd.start()),
        ]
        if topology.sandbox is not None:
            servers.append(self._timed("sandbox", topology.sandbox.start()))
        await start_all(servers)
        await self._timed("schema", migrate(topology.context))
        await start_all(
            self._timed(member.name, member.start()) for member in (*topology.apis, *topology.replicas)
        )

    async def _timed(self, what: str, start: Coroutine[None, None, object]) -> None:
        await start
        self.ready_after_s[what] = time.monotonic() - self._started_at_s
        self._progress(f"{what} ready after {self.ready_after_s[what]:.1f} s")

    def _publish(self) -> None:
        if self._published:
            self.state().write(self.spec.data_dir)
