"""Whole clusters to be tormented, and the judge beside them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from chaos.demo.crowd import Doors, bring_in, offer_plans
from chaos.demo.figures import Figures
from chaos.demo.population import subscribers
from chaos.demo.rest import come_to_rest
from chaos.demo.rest_client import RestClient
from chaos.judge.judging import Sources, connect, judge
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster
from cluster.spec import ClusterSpec

POLL_S = 0.05
_numbers = count(1)


@asynccontextmanager
async def running_cluster(
    root: Path, *, replicas: int = 2, extra_env: Mapping[str, Mapping[str, str]] | None = None
) -> AsyncIterator[Cluster]:
    """A cluster with an empty database below `root`."""
    spec = ClusterSpec(
        data_dir=root / f"chaos-{next(_numbers)}", replicas=replicas, extra_env=extra_env or {}
    )
    async with Cluster(spec) as cluster:
        yield cluster


async def judge_now(cluster: Cluster, *, require_rest: bool = False) -> Verdict:
    """The verdict on a running cluster."""
    sources = Sources(cluster.judge_database_url, cluster.sandbox.url, cluster.sandbox.admin_key)
    return await judge(sources, require_rest=require_rest)


def broken(verdict: Verdict) -> set[str]:
    """The names of the invariants that do not hold."""
    return {result.name for result in verdict.invariants if not result.holds}


async def leader_name(cluster: Cluster, *, timeout_s: float = 15.0) -> str:
    """Who holds the fence, as soon as somebody in office does; raises `TimeoutError`."""
    query = """
        SELECT split_part(f.holder, '#', 1) FROM fence f
        JOIN terms t ON t.scope = f.scope AND t.number = f.term WHERE t.ended_at IS NULL
    """
    connection = await connect(cluster.judge_database_url)
    try:
        async with asyncio.timeout(timeout_s):
            while (name := await connection.fetchval(query)) is None:  # noqa: ASYNC110  # other processes set no events of ours
                await asyncio.sleep(POLL_S)
        return str(name)
    finally:
        connection.terminate()


async def subscribe_all(cluster: Cluster, number: int, *, seed: int = 1) -> Figures:
    """So many subscribers of the seeded crowd, all in; the test clock stays as it is."""
    figures = Figures(number)
    async with RestClient(cluster.apis[0].url, cluster.keys.api_key, connections=9) as client:
        plan_ids = await offer_plans(client)
        crowd = subscribers(number, seed)
        await bring_in(client, plan_ids, crowd, figures, workers=8, doors=Doors())
    return figures


async def bring_to_rest(cluster: Cluster, *, timeout_s: float = 60.0) -> None:
    """Stop the test clock and wait until nothing is due or open; raises `TimeoutError`."""
    async with RestClient(cluster.apis[0].url, cluster.keys.api_key, connections=1) as client:
        await client.set_test_clock(rate=0)
    connection = await connect(cluster.judge_database_url)
    try:
        left = await come_to_rest(connection, timeout_s)
    finally:
        connection.terminate()
    if left:
        raise TimeoutError(f"not at rest after {timeout_s:g} s: {left}")


async def sandbox_post(cluster: Cluster, path: str, form: Mapping[str, str]) -> dict[str, Any]:
    """A request to the processor behind everybody's back."""
    headers = {"Authorization": f"Bearer {cluster.sandbox.api_key}"}
    async with httpx.AsyncClient(base_url=cluster.sandbox.url, headers=headers, timeout=10.0) as client:
        answer = await client.post(path, data=dict(form))
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content


async def add_fault(cluster: Cluster, rule: Mapping[str, Any]) -> None:
    """A rule for the sandbox's faults."""
    headers = {"Authorization": f"Bearer {cluster.sandbox.admin_key}"}
    async with httpx.AsyncClient(base_url=cluster.sandbox.url, headers=headers, timeout=10.0) as client:
        (await client.post("/admin/faults", json=dict(rule))).raise_for_status()


@asynccontextmanager
async def books_open_to_falsification(cluster: Cluster) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A session of the owner in which no trigger fires."""
    connection = await cluster.postgres.connect()
    try:
        await connection.execute("SET session_replication_role = replica")
        yield connection
    finally:
        await connection.close()
