"""The sandbox delivers, the API files, the leader looks; and the judge, who sees what would be missed without."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest_asyncio
from tests.support.chaos_runs import POLL_S, broken, judge_now, running_cluster, sandbox_post

from cluster.cluster import Cluster

DEADLINE_S = 30.0
PLAN = {"name": "Daily", "amount_minor": 999, "currency": "EUR", "interval": {"unit": "day", "count": 1}}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(server_root: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(server_root, replicas=1, webhooks=True) as cluster:
        yield cluster


async def waiting_for_its_customer(cluster: Cluster) -> str:
    """The payment intent of a debt whose customer has to authenticate."""
    headers = {"Authorization": f"Bearer {cluster.keys.api_key}"}
    async with httpx.AsyncClient(base_url=cluster.apis[0].url, headers=headers, timeout=10.0) as client:

        async def made(path: str, body: dict[str, Any]) -> str:
            answer = await client.post(path, json=body)
            assert answer.status_code == 201, answer.text
            return str(answer.json()["id"])

        wanted = {"email": "ada@example.com", "payment_method": "pm_card_authenticationRequired"}
        customer = await made("/v1/customers", wanted)
        plan = await made("/v1/plans", PLAN)
        subscription = await made("/v1/subscriptions", {"customer_id": customer, "plan_id": plan})
    found = await until(cluster, "requires_action", "subscription_id", subscription)
    return str(found["payment_intent_id"])


async def until(cluster: Cluster, status: str, column: str, value: str) -> asyncpg.Record:
    """The invoice, once it has that status."""
    owner = await cluster.postgres.connect()
    try:
        async with asyncio.timeout(DEADLINE_S):
            query = f"SELECT * FROM invoices WHERE status = $1 AND {column} = $2"
            while (row := await owner.fetchrow(query, status, value)) is None:  # noqa: ASYNC110  # the database sets no events of ours
                await asyncio.sleep(POLL_S)
        return row
    finally:
        await owner.close()


async def test_a_customer_who_comes_back_and_pays_is_learned_of(cluster: Cluster) -> None:
    intent = await waiting_for_its_customer(cluster)
    api = cluster.member("api-1")
    api.pause()  # nobody takes what the sandbox delivers: as it was without webhooks
    try:
        await sandbox_post(
            cluster, f"/v1/payment_intents/{intent}/confirm", {"payment_method": "pm_card_visa"}
        )
        missed = await judge_now(cluster, require_rest=True)
        assert {"I2", "I9"} <= broken(missed), "paid there, and requires_action here"
    finally:
        api.resume()
    await until(cluster, "paid", "payment_intent_id", intent)
    verdict = await judge_now(cluster, require_rest=True)
    assert verdict.holds, verdict.to_json()


async def test_an_intent_that_is_canceled_at_the_processor_ends_its_debt(cluster: Cluster) -> None:
    intent = await waiting_for_its_customer(cluster)
    await sandbox_post(cluster, f"/v1/payment_intents/{intent}/cancel", {})
    invoice = await until(cluster, "uncollectible", "payment_intent_id", intent)
    assert invoice["attempt_count"] == 2
    verdict = await judge_now(cluster, require_rest=True)
    assert verdict.holds, verdict.to_json()
