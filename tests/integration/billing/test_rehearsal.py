"""A rehearsed term: everything is ready for the first charge, and nobody can tell that it was played."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from tests.support.store_rig import StoreRig

from middleman.adapters.postgres.rehearsal import Rehearsal
from middleman.ports.store import StoreUnavailable

BOOKS = """
    SELECT (SELECT count(*) FROM fence) AS fences, (SELECT max(term) FROM fence) AS term,
           (SELECT count(*) FROM terms) AS terms, (SELECT count(*) FROM events) AS events,
           (SELECT count(*) FROM invoices) AS invoices, (SELECT count(*) FROM payment_attempts) AS attempts
"""
# What this backend has prepared and how often it was run, for the statements that move money.
PREPARED = """
    SELECT count(*) FROM pg_prepared_statements WHERE custom_plans + generic_plans >= 6
      AND (statement LIKE '%enter_term%' OR statement LIKE '%attempted AS%' OR statement LIKE '%bound AS%'
           OR statement LIKE '%settled AS%' OR statement LIKE '%take_office%'
           OR statement LIKE '%t.created_at, t.id LIMIT%')
"""


async def test_nothing_of_a_rehearsal_is_left_and_the_term_in_office_goes_on(rig: StoreRig) -> None:
    before = await rig.row(BOOKS)
    await Rehearsal(rig.pool, uuid4).play()
    assert await rig.row(BOOKS) == before
    assert await rig.open_attempts() == [], "the leader's own term is still good"


async def test_a_session_has_prepared_what_a_first_charge_executes(rig: StoreRig) -> None:
    pool = rig.database.replica_engine("follower#1", pool_size=1)
    try:
        await Rehearsal(pool, uuid4).play()
        async with pool.connect() as connection:
            prepared = await connection.scalar(text(PREPARED))
    finally:
        await pool.dispose()
    assert prepared == 8, (
        "enter the term, take office, recover, claim what is due, plan and claim what is retried, bind, settle"
    )


async def test_two_replicas_can_rehearse_beside_a_leader_that_charges(rig: StoreRig) -> None:
    pool = rig.database.replica_engine("follower#1", pool_size=2)
    try:
        rehearsal = Rehearsal(pool, uuid4)
        async with rig.store.fenced(rig.term) as transaction, asyncio.timeout(10):
            await asyncio.gather(rehearsal.play(), rehearsal.play())
            assert not (await transaction.claim_due(10, 1000)).attempts
    finally:
        await pool.dispose()


async def test_a_rehearsal_that_meets_another_in_its_scope_gives_up_and_may_be_repeated(
    rig: StoreRig,
) -> None:
    same: UUID = uuid4()
    pool = rig.database.replica_engine("follower#1", pool_size=1)
    scope = -1 - same.int % 32768
    try:
        async with rig.owner.transaction():
            await rig.owner.execute("SELECT take_office($1::smallint, 'another', 0, $2)", scope, uuid4())
            with pytest.raises(StoreUnavailable):
                await Rehearsal(pool, lambda: same).play()
        await Rehearsal(pool, uuid4).play()
    finally:
        await pool.dispose()
