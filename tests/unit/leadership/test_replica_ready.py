"""`/readyz` of a replica: its role, its connections, and a database that takes writes."""

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.entrypoints.replica.ops import ops_app
from middleman.leadership.observer import Role

STANDBY = "the database server takes no writes: it is a standby"


@pytest.mark.parametrize(
    ("role", "warm", "trouble", "status"),
    [
        (Role.FOLLOWER, True, None, 200),
        (Role.LEADER, True, None, 200),
        (Role.CANDIDATE, True, None, 503),
        (Role.FOLLOWER, False, None, 503),
        (Role.LEADER, True, STANDBY, 503),
    ],
)
async def test_a_replica_is_ready_with_a_role_warm_sessions_and_a_database_that_takes_writes(
    role: Role, warm: bool, trouble: str | None, status: int
) -> None:
    async def database_trouble() -> str | None:
        return trouble

    registry = CollectorRegistry()
    metrics = ReplicaMetrics(registry)
    metrics.role_changed(role, 0.0)
    app = ops_app("replica-1", "replica-1#aa", metrics, registry, lambda: warm, database_trouble)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/readyz")
        assert answer.status == status
        assert (await answer.json())["database"] == (trouble or "ok")
