"""Who is shown at `/v1/leadership`, where names are made up at each start of a container."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.support.store_rig import StoreRig

from middleman.adapters.postgres.heartbeat import Heartbeat
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.records import PostgresRecords


@pytest_asyncio.fixture
async def records(rig: StoreRig) -> AsyncIterator[PostgresRecords]:
    yield PostgresRecords(Reader(rig.pool))


def _beat(engine: AsyncEngine, name: str) -> Heartbeat:
    return Heartbeat(engine, name, "1", f"http://{name}:9000")


async def _age(rig: StoreRig, interval: str) -> None:
    async with rig.database.connect() as owner:
        await owner.execute("UPDATE replicas SET last_seen_at = last_seen_at - $1::text::interval", interval)


async def _lead(rig: StoreRig, name: str) -> None:
    async with rig.database.connect("middleman_replica") as replica:
        await replica.execute("SELECT take_office(0::smallint, $1, 7, $2)", f"{name}#1", uuid4())


async def test_the_leader_is_shown_first_whatever_it_is_called(
    rig: StoreRig, records: PostgresRecords
) -> None:
    for number in range(120):
        await _beat(rig.pool, f"c{number:03}").beat("stood_down")
    await _age(rig, "1 hour")
    await _beat(rig.pool, "follower").beat("follower")
    await _beat(rig.pool, "zz-leads").beat("leader")
    await _lead(rig, "zz-leads")
    shown = [replica.name for replica in (await records.leadership(0)).replicas]
    assert shown[:2] == ["zz-leads", "follower"]
    assert len(shown) == 100


async def test_a_leader_that_cannot_report_is_shown_all_the_same(
    rig: StoreRig, records: PostgresRecords
) -> None:
    await _beat(rig.pool, "leads").beat("leader")
    await _lead(rig, "leads")
    await _age(rig, "3 days")
    [leader] = (await records.leadership(0)).replicas
    assert (leader.name, leader.stale) == ("leads", True)


async def test_a_replica_that_was_silent_for_a_day_is_shown_no_more_and_leaves_its_row_to_a_newcomer(
    rig: StoreRig, records: PostgresRecords
) -> None:
    for name in ("old-1", "old-2"):
        await _beat(rig.pool, name).beat("leader")
    await _age(rig, "25 hours")
    assert (await records.leadership(0)).replicas == []
    for _ in range(3):
        await _beat(rig.pool, "new").beat("follower")
    [newcomer] = (await records.leadership(0)).replicas
    assert (newcomer.name, newcomer.role, newcomer.ops_url) == ("new", "follower", "http://new:9000")
    async with rig.database.connect() as owner:
        assert await owner.fetchval("SELECT count(*) FROM replicas") == 2
    assert not newcomer.stale


@pytest.mark.parametrize("name", ["old-1", "new"])
async def test_a_row_is_never_taken_from_a_name_that_has_one(rig: StoreRig, name: str) -> None:
    await _beat(rig.pool, "old-1").beat("leader")
    await _age(rig, "25 hours")
    await _beat(rig.pool, name).beat("follower")
    async with rig.database.connect() as owner:
        assert [row["name"] for row in await owner.fetch("SELECT name FROM replicas")] == [name]
