"""The test clock against claims under way: nothing is billed that never fell due."""

import asyncio
from uuid import uuid4

import asyncpg
from tests.support.database import Database

FAST = "SELECT set_test_clock(interval '0', 1000000)"
STOP = "SELECT set_test_clock(interval '0', 0)"
_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event_type = 'Lock'"
_WAIT_S = 10.0


async def test_a_clock_that_is_stopped_waits_for_the_claim_that_has_begun(database: Database) -> None:
    uid = uuid4()
    async with (
        database.connect() as owner,
        database.connect("middleman_replica") as leader,
        database.connect("middleman_api") as api,
    ):
        await owner.execute(FAST)
        term = await leader.fetchval(
            "SELECT number FROM take_office(0::smallint, 'leader', 7::bigint, $1::uuid)", uid
        )
        async with leader.transaction():
            await leader.execute("SELECT enter_term(0::smallint, $1::bigint, $2::uuid)", term, uid)
            stopping = asyncio.create_task(api.fetchval(STOP))
            await _until_it_waits_or_is_done(owner, api, stopping)
            assert not stopping.done()
            claimed_up_to = await leader.fetchval("SELECT business_now()")
        stopped_at = await asyncio.wait_for(stopping, _WAIT_S)
        assert claimed_up_to <= stopped_at
        assert await leader.fetchval("SELECT business_now()") == stopped_at


async def test_a_claim_that_begins_while_the_clock_is_being_stopped_waits_for_it(database: Database) -> None:
    uid = uuid4()
    async with (
        database.connect() as owner,
        database.connect("middleman_replica") as leader,
        database.connect("middleman_api") as api,
    ):
        await owner.execute(FAST)
        term = await leader.fetchval(
            "SELECT number FROM take_office(0::smallint, 'leader', 7::bigint, $1::uuid)", uid
        )

        async def claim() -> object:
            async with leader.transaction():
                await leader.execute("SELECT enter_term(0::smallint, $1::bigint, $2::uuid)", term, uid)
                return await leader.fetchval("SELECT business_now()")

        async with api.transaction():
            stopped_at = await api.fetchval(STOP)
            claiming = asyncio.create_task(claim())
            await _until_it_waits_or_is_done(owner, leader, claiming)
        assert await asyncio.wait_for(claiming, _WAIT_S) == stopped_at


async def _until_it_waits_or_is_done(
    owner: "asyncpg.Connection[asyncpg.Record]",
    session: "asyncpg.Connection[asyncpg.Record]",
    work: "asyncio.Task[object]",
) -> None:
    async with asyncio.timeout(_WAIT_S):
        while not work.done():
            if await owner.fetchval(_WAITING, session.get_server_pid()):
                return
            await asyncio.sleep(0.01)  # the database tells nobody when a session begins to wait
