"""Whole clusters to be tormented, and the judge beside them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg

from chaos.judge.judging import Sources, judge
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster
from cluster.health import http_client
from cluster.spec import ClusterSpec

POLL_S = 0.05
_numbers = count(1)


@asynccontextmanager
async def running_cluster(
    root: Path,
    *,
    replicas: int = 2,
    webhooks: bool = False,
    extra_env: Mapping[str, Mapping[str, str]] | None = None,
) -> AsyncIterator[Cluster]:
    """A cluster with an empty database below `root`."""
    spec = ClusterSpec(
        data_dir=root / f"chaos-{next(_numbers)}",
        replicas=replicas,
        etcd_members=1,  # who hurts etcd has a cluster of its own
        webhooks=webhooks,
        extra_env=extra_env or {},
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


async def sandbox_post(cluster: Cluster, path: str, form: Mapping[str, str]) -> dict[str, Any]:
    """A request to the processor behind everybody's back."""
    headers = {"Authorization": f"Bearer {cluster.sandbox.api_key}"}
    async with http_client(10.0, base_url=cluster.sandbox.url, headers=headers) as client:
        answer = await client.post(path, data=dict(form))
        answer.raise_for_status()
        content: dict[str, Any] = answer.json()
        return content


@asynccontextmanager
async def books_open_to_falsification(cluster: Cluster) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A session of the owner in which no trigger fires."""
    connection = await cluster.postgres.connect()
    try:
        await connection.execute("SET session_replication_role = replica")
        yield connection
    finally:
        await connection.close()
