"""A cluster to be wronged: replicas with other settings, subscriptions that are due, a processor that loses answers."""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from chaos.prove.sight import Sight
from cluster.health import http_client
from cluster.process import ManagedProcess
from cluster.together import gather_all

if TYPE_CHECKING:
    from chaos.drive.local import Settings

HTTP_TIMEOUT_S = 10.0

Env = Mapping[str, str]
SAFE: Env = {}

_WIPE = """
    SET session_replication_role = replica;
    TRUNCATE ledger_entries, payment_attempts, invoices, subscriptions, customers, plans, terms, fence, replicas, events
        RESTART IDENTITY CASCADE;
    RESET session_replication_role;
    UPDATE test_clock SET base_real = '2000-01-01Z', base_virtual = '2000-01-01Z', rate = 1;
"""
_SUBSCRIBE = """
    WITH plan AS (
        INSERT INTO plans (id, name, amount_minor, currency, interval_unit, interval_count)
        VALUES ('pl_' || $1, 'Control', 999, 'EUR', 'month', 1) RETURNING id
    ), customer AS (
        INSERT INTO customers (id, email, processor_customer_id, payment_method_id)
        VALUES ('cu_' || $1, $1 || '@example.com', $3, $4) RETURNING id
    )
    INSERT INTO subscriptions (id, customer_id, plan_id, amount_minor, currency, interval_unit, interval_count,
                               anchor_local, time_zone, next_due_at)
    SELECT 'sub_' || $1 || 'x' || n, customer.id, plan.id, 999, 'EUR', 'month', 1, anchor, 'UTC', anchor AT TIME ZONE 'UTC'
    FROM plan, customer, generate_series(1, $2::int) n,
         LATERAL (SELECT date_trunc('second', (business_now() - interval '1 hour') AT TIME ZONE 'UTC') AS anchor)
"""


@dataclass(slots=True)
class World(Sight):
    """`settings` is what replicas are launched with, by name; the cluster reads it anew at each launch."""

    settings: "Settings"
    _crowds: int = field(default=0, init=False)

    # Who plays.

    async def nobody_runs(self) -> None:
        """SIGKILL to every replica."""
        await gather_all(each.kill() for each in self.cluster.replicas)

    async def launch(self, name: str, env: Env) -> ManagedProcess:
        """Start one replica anew and do not wait: it may be meant to die before it is ready."""
        member = self.cluster.member(name)
        await member.kill()
        self.settings[name] = dict(env)
        self.forget_log(name)
        await member.launch()
        return member

    async def play(self, name: str, env: Env = SAFE) -> None:
        """Start one replica anew and wait until it is ready."""
        await (await self.launch(name, env)).wait_ready()

    async def clean(self) -> None:
        """Empty books and an empty ledger; no replica runs afterwards."""
        await self.nobody_runs()
        await self.cluster.sandbox.kill()
        await asyncio.to_thread(shutil.rmtree, self.sandbox_data)
        await self.cluster.sandbox.start()
        await self.execute(_WIPE)
        await self.revoke_leases()

    async def revoke_leases(self) -> None:
        """So that the next replica need not wait until the lease of the dead has expired."""
        url = self.cluster.etcd.members[0].url
        async with http_client(HTTP_TIMEOUT_S, base_url=url) as etcd:
            leases = (await etcd.post("/v3/lease/leases", json={})).raise_for_status().json()
            for lease in leases.get("leases", []):
                (await etcd.post("/v3/lease/revoke", json={"ID": lease["ID"]})).raise_for_status()

    # What they play with.

    async def subscribe(self, count: int) -> None:
        """`count` monthly subscriptions of one customer, each due for an hour."""
        self._crowds += 1
        name = f"c{self._crowds}"
        async with self._sandbox(self.cluster.sandbox.api_key) as sandbox:
            customer = await _post(sandbox, "/v1/customers", data={"email": f"{name}@example.com"})
            card = await _post(
                sandbox, "/v1/payment_methods/pm_card_visa/attach", data={"customer": customer["id"]}
            )
        await self.execute(_SUBSCRIBE, name, count, customer["id"], card["id"])

    async def lose_answers(self, operation: str, times: int) -> None:
        """The processor does what it is asked, so many times, and does not say so."""
        rule = {"match": {"operation": operation}, "action": {"type": "drop_after"}, "times": times}
        async with self._sandbox(self.cluster.sandbox.admin_key) as sandbox:
            await _post(sandbox, "/admin/faults", json=rule)

    @property
    def sandbox_data(self) -> Path:
        """Where the processor keeps its ledger."""
        return self.cluster.spec.data_dir / "sandbox" / "data"

    def _sandbox(self, key: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {key}"}
        return http_client(HTTP_TIMEOUT_S, base_url=self.cluster.sandbox.url, headers=headers)


async def _post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = (await client.post(path, **body)).raise_for_status()
    content: dict[str, Any] = answer.json()
    return content
