"""Bounds that belong together, as the replica is put together."""

import asyncio

import pytest
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.bootstrap.replica import rate_limiter
from middleman.settings import ReplicaSettings, load


def test_the_limiter_queues_everything_that_may_be_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MIDDLEMAN_DATABASE_URL": "postgresql://middleman_replica:secret@127.0.0.1:1/middleman",
        "MIDDLEMAN_ETCD_ENDPOINTS": "127.0.0.1:1",
        "MIDDLEMAN_REPLICA_NAME": "replica-1",
        "STRIPE_API_KEY": "sk_test_x",
        "MIDDLEMAN_RATE_LIMIT_PER_S": "25",
        "MIDDLEMAN_ACCOUNT_RATE_LIMIT_PER_S": "20",
        "MIDDLEMAN_IN_FLIGHT_LIMIT": "11000",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load(ReplicaSettings)

    @in_virtual_time
    async def scenario() -> None:
        limiter = rate_limiter(settings, VirtualClock())
        waiting = [
            asyncio.ensure_future(limiter.acquire("create"))
            for _ in range(settings.in_flight_limit + settings.claim_batch)
        ]
        await asyncio.gather(*waiting)

    scenario()
