"""A whole cluster that is hurt on purpose: replicas as processes, started with whatever failpoints a test wants.

A test says who plays (`team`), lets subscriptions fall due (`subscribe`), hurts somebody, waits for events that it
sees in SQL, in logs and at operations endpoints, and asks both ledgers what was charged in the end.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from cluster.cluster import Cluster
from cluster.health import http_client
from cluster.process import ManagedProcess
from cluster.spec import ClusterSpec
from tests.support.fault_witnesses import Witnesses, until

LEASE_TTL_S = 3
"""The shortest that the timing rules allow."""
Env = Mapping[str, str]
SAFE: Env = {}


@dataclass(frozen=True, slots=True)
class Leader:
    """Who holds the fence."""

    name: str
    term: int


@dataclass(slots=True)
class FaultWorld(Witnesses):
    """The cluster and its witnesses."""

    env: dict[str, Env]
    _launched: dict[str, Env] = field(default_factory=dict)
    _log_start: dict[str, int] = field(default_factory=dict)

    # Who plays.

    async def team(self, **envs: Env) -> None:
        """Exactly these replicas run and are ready, each with its environment; `replica_1=SAFE`."""
        wanted = {name.replace("_", "-"): dict(env) for name, env in envs.items()}
        idle = [each for each in self.cluster.replicas if each.name not in wanted and each.is_running]
        await asyncio.gather(*(each.kill() for each in idle))
        await asyncio.gather(*(self._play(self.cluster.member(name), env) for name, env in wanted.items()))

    async def team_beside(self, name: str, **envs: Env) -> None:
        """These replicas run and are ready, beside one that nobody may wait for."""
        others = {each.replace("_", "-"): dict(env) for each, env in envs.items()}
        assert name not in others
        await asyncio.gather(*(self._play(self.cluster.member(each), env) for each, env in others.items()))

    async def launch(self, name: str, env: Env) -> ManagedProcess:
        """Start one replica anew and do not wait: it may be meant to die before it is ready."""
        member = self.cluster.member(name)
        await member.kill()
        self.env[name] = self._launched[name] = dict(env)
        self._log_start[name] = member.log_path.stat().st_size if member.log_path.exists() else 0
        await member.launch()
        return member

    async def _play(self, member: ManagedProcess, env: Env) -> None:
        if member.is_paused:
            member.resume()
        if not member.is_running or self._launched.get(member.name, SAFE) != env:
            await self.launch(member.name, env)
        await member.wait_ready()

    # What hurts.

    async def fault(
        self, action: Mapping[str, Any], *, operation: str = "*", times: int | None = None
    ) -> None:
        """A fault rule at the sandbox, until `calm`."""
        rule: dict[str, Any] = {"match": {"operation": operation}, "action": dict(action)}
        async with self.sandbox(admin=True) as sandbox:
            answer = await sandbox.post("/admin/faults", json=rule | ({"times": times} if times else {}))
            answer.raise_for_status()

    async def slow_processor(self, latency_ms: int) -> None:
        """Every call takes so long: a batch lasts, and can be hit in its middle."""
        await self.fault({"type": "latency", "latency_ms": latency_ms}, operation="payment_intents.create")
        await self.fault({"type": "latency", "latency_ms": latency_ms}, operation="payment_intents.confirm")

    async def calm(self) -> None:
        """No fault at the sandbox any more, everybody else healthy."""
        for member in (self.cluster.postgres, self.cluster.sandbox):
            if member.is_paused:
                member.resume()
            await member.start()
        await self.cluster.etcd.heal()  # all at once: none is healthy without a majority
        async with self.sandbox(admin=True) as sandbox:
            (await sandbox.delete("/admin/faults")).raise_for_status()

    async def revoke_leases(self) -> None:
        """No replica runs, and the next one need not wait until the lease of the dead has expired."""
        assert not any(replica.is_running for replica in self.cluster.replicas)
        async with http_client(10.0, base_url=self.cluster.etcd.members[0].url) as etcd:
            leases = (await etcd.post("/v3/lease/leases", json={})).raise_for_status().json()
            for lease in leases.get("leases", []):
                (await etcd.post("/v3/lease/revoke", json={"ID": lease["ID"]})).raise_for_status()

    # What can be seen.

    async def leader(self, *, after_term: int = 0) -> Leader:
        """Wait for a leader that runs, with a term above `after_term`."""

        async def look() -> Leader | None:
            rows = await self.fetch("SELECT holder, term FROM fence WHERE term > $1", after_term)
            for row in rows:
                found = Leader(row["holder"].partition("#")[0], row["term"])
                if await self._leads(found):
                    return found
            return None

        return await until(look)

    async def _leads(self, leader: Leader) -> bool:
        member = self.cluster.member(leader.name)
        if not member.is_running or member.is_paused:
            return False
        try:
            async with http_client() as client:
                told = (await client.get(f"{member.url}/leader")).json()
        except httpx.HTTPError:
            return False
        return bool(told["term"] == leader.term)

    def log(self, name: str, event: str | None = None) -> list[dict[str, Any]]:
        """What a replica has logged since its last launch, all or one kind of event."""
        member = self.cluster.member(name)
        text = member.log_path.read_bytes()[self._log_start.get(name, 0) :].decode(errors="replace")
        entries = [
            json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")
        ]
        return [entry for entry in entries if event in (None, entry["event"])]

    async def until_logged(self, name: str, event: str, **fields: object) -> dict[str, Any]:
        """Wait until a replica logs an event with these fields."""

        async def look() -> dict[str, Any] | None:
            found = [entry for entry in self.log(name, event) if fields.items() <= entry.items()]
            return found[0] if found else None

        return await until(look)

    async def until_frozen(self, name: str) -> None:
        """Wait until a replica has stopped itself (SIGSTOP)."""

        state = Path(f"/proc/{self.cluster.member(name).pid}/stat")

        async def look() -> bool | None:
            # proc(5): the state is the first field after the name in brackets.
            return state.read_text().rpartition(")")[2].split()[0] == "T" or None  # noqa: ASYNC240  # not on a disk

        await until(look)


@asynccontextmanager
async def fault_world(root: Path) -> AsyncIterator[FaultWorld]:
    """A cluster with three replicas; started once and shared, so a test leaves nothing frozen or broken."""
    env: dict[str, Env] = {}  # read anew at every launch
    spec = ClusterSpec(data_dir=root / "faults", apis=0, lease_ttl_s=LEASE_TTL_S, extra_env=env)
    async with Cluster(spec) as cluster:
        yield FaultWorld(cluster, env)


def elapsed_s(since_s: float) -> float:
    """Seconds on the monotonic clock."""
    return time.monotonic() - since_s
