"""A failover within a term: what the leader remembers is no longer what the database has, so the term is stale."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from tests.support.database import add_subscriptions
from tests.support.failover import Failover, failover_pair
from tests.support.store_rig import StoreRig

from middleman.adapters.postgres.office import PostgresOffice
from middleman.adapters.postgres.store import PostgresStore
from middleman.ports.errors import StaleTerm
from middleman.ports.failpoints import NO_FAILPOINTS
from middleman.ports.store import StoreUnavailable


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(server_root: Path) -> AsyncIterator[Failover]:
    """Two servers behind one address."""
    async with failover_pair(server_root / "timelines") as pair:
        yield pair


async def test_a_failover_that_lost_the_last_commits_makes_the_term_stale(pair: Failover) -> None:
    pool = pair.pool("middleman_replica", "leader#1")
    office, store = PostgresOffice(pool, uuid4), PostgresStore(pool, NO_FAILPOINTS)
    try:
        term = await office.take_office(0, "leader#1", 1)
        owner = await pair.owner()
        await add_subscriptions(owner, 2)
        await owner.close()
        await pair.stop_replication()
        async with store.fenced(term) as transaction:
            claimed = (await transaction.claim_due(10, 1000)).attempts
        assert len(claimed) == 2

        await pair.fail_over(loses_what_follows=True)
        pair.move_address()
        with pytest.raises(StoreUnavailable):  # the sessions broke with the old primary
            async with store.fenced(term):
                pass
        with pytest.raises(StaleTerm, match=r"began on timeline 1, and the database is on timeline 2"):
            async with store.fenced(term) as transaction:
                await transaction.claim_due(10, 1000)

        with capture_logs() as logs:
            later = await office.take_office(0, "leader#1", 2)
        assert [each["event"] for each in logs if each["log_level"] == "error"] == [
            "database.timeline_changed"
        ]
        async with store.fenced(later) as transaction:
            again = (await transaction.claim_due(10, 1000)).attempts
        assert [each.attempt_id for each in again] == [each.attempt_id for each in claimed]
    finally:
        await pool.dispose()


async def test_a_term_on_another_timeline_is_refused_even_when_the_sql_is_typed_by_hand(
    rig: StoreRig,
) -> None:
    await add_subscriptions(rig.owner, 1)
    [attempt] = (await rig.claim()).attempts
    await rig.owner.execute("UPDATE fence SET timeline = timeline + 1")
    with pytest.raises(StaleTerm, match="timeline"):
        await rig.open_attempts()
    async with rig.database.connect("middleman_replica") as session, session.transaction():
        await session.execute(
            "SELECT set_config('middleman.scope', '0', true), set_config('middleman.term', $1, true),"
            " set_config('middleman.term_uid', $2, true)",
            str(rig.term.number),
            str(rig.term.uid),
        )
        with pytest.raises(asyncpg.PostgresError, match="began on timeline") as refused:
            await session.execute(
                "UPDATE payment_attempts SET code = 'by hand' WHERE id = $1", attempt.attempt_id
            )
        assert refused.value.sqlstate == "MM001"


async def test_the_fence_takes_the_timeline_of_each_new_term(rig: StoreRig) -> None:
    await rig.owner.execute("UPDATE fence SET timeline = timeline + 1")
    term = await rig.superseded()
    later = replace(rig, term=term)
    assert await later.open_attempts() == []
