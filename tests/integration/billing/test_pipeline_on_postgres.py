"""The whole pipeline in this process: real PostgreSQL, a processor in memory that misbehaves on request."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest
from tests.support.fake_processor import FakeProcessor, Fault, Operation
from tests.support.pipeline_works import DEADLINE_S, LIMITS, Works
from tests.support.store_rig import StoreRig

from middleman.adapters.postgres.office import PostgresOffice
from middleman.domain import ids
from middleman.domain.attempts import Declined
from middleman.domain.idempotency import confirm_key, create_key
from middleman.domain.ids import SubscriptionId
from middleman.ports.errors import StaleTerm, TrustLost


@pytest.fixture
def works(rig: StoreRig) -> Works:
    return Works(rig, FakeProcessor())


async def test_everything_due_is_charged_once_under_the_names_that_the_domain_gives(works: Works) -> None:
    await works.subscribe(60)
    async with works.leading() as leading:
        await works.until("paid", 60, leading)
    await works.assert_each_paid_once(60)
    assert await works.rig.open_attempts() == []
    invoices = [ids.invoice_id(SubscriptionId(f"sub_s{n}"), 0) for n in range(1, 61)]
    assert {c.key for c in works.processor.calls if c.operation == "create"} == {
        create_key(i) for i in invoices
    }
    assert {c.key for c in works.processor.calls if c.operation == "confirm"} == {
        confirm_key(ids.attempt_id(i, 1)) for i in invoices
    }
    for intent in works.processor.intents.values():
        subscription = SubscriptionId(intent.metadata["subscription_id"])
        assert intent.metadata["invoice_id"] == ids.invoice_id(
            subscription, int(intent.metadata["period_no"])
        )
    assert leading.observer.recoveries == [0]
    assert leading.observer.settlements == ["succeeded"] * 60


@pytest.mark.parametrize("fault", list(Fault))
@pytest.mark.parametrize("operation", [Operation.CREATE, Operation.CONFIRM, Operation.READ])
async def test_no_fault_of_the_processor_charges_twice_or_loses_a_period(
    works: Works, operation: Operation, fault: Fault
) -> None:
    await works.subscribe(12)
    works.processor.fail(operation, fault, times=8)
    if operation is Operation.READ:
        works.processor.fail(Operation.CONFIRM, Fault.UNKNOWN_AFTER, times=6)
    async with works.leading() as leading:
        await works.until("paid", 12, leading)
    await works.assert_each_paid_once(12)
    answers = {result for step, result in leading.observer.calls if step == operation}
    assert answers & {"NotSent", "Unknown"}, "the fault was met"


async def test_a_decline_is_settled_and_tried_again_on_the_same_intent_when_dunning_says_so(
    works: Works,
) -> None:
    await works.subscribe(3)
    works.processor.decline_next(Declined("card_declined", "insufficient_funds"))
    async with works.leading() as leading:
        await works.until("paid", 2, leading)
        await works.until_some("SELECT count(*) FROM invoices WHERE next_attempt_at IS NOT NULL")
        assert await works.count("paid") == 2
        await works.rig.owner.execute("SELECT set_test_clock('1 day 1 minute', 1)")
        await works.until("paid", 3, leading)
    await works.assert_each_paid_once(3)
    assert len(works.processor.intents) == 3
    assert [
        each["status"] for each in await works.rig.owner.fetch("SELECT DISTINCT status FROM subscriptions")
    ] == ["active"]


async def test_a_long_outage_is_caught_up_period_by_period(works: Works) -> None:
    await works.subscribe(5, due_in="-9 days -1 hour", interval="day")
    async with works.leading() as leading:
        await works.until("paid", 50, leading)
    await works.assert_each_paid_once(50)
    periods = await works.rig.owner.fetch(
        "SELECT array_agg(period_no ORDER BY period_no) AS numbers FROM invoices GROUP BY subscription_id"
    )
    assert [row["numbers"] for row in periods] == [list(range(10))] * 5


async def test_what_was_opened_and_never_heard_of_again_is_recovered_first(works: Works) -> None:
    await works.subscribe(20)
    opened = (await works.rig.claim(limit=10)).attempts
    async with works.leading() as leading:
        await works.until("paid", 20, leading)
    await works.assert_each_paid_once(20)
    assert leading.observer.recoveries == [10]
    recovered = {create_key(attempt.invoice_id) for attempt in opened}
    creates = [call for call in works.processor.calls if call.operation == "create"]
    assert {call.key for call in creates[:10]} == recovered
    assert [call.repeat for call in creates] == [True] * 10 + [False] * 10


async def test_draining_lets_calls_in_flight_end_and_settles_them(works: Works) -> None:
    await works.subscribe(30)
    out, may_end = asyncio.Event(), asyncio.Event()

    async def hold(operation: Operation, request: object) -> None:
        if operation is Operation.CONFIRM:
            out.set()
            await may_end.wait()

    works.processor.before_call = hold
    async with works.leading() as leading:
        async with asyncio.timeout(DEADLINE_S):
            await out.wait()
        leading.draining.set()
        may_end.set()
    paid = await works.count("paid")
    assert 1 <= paid <= LIMITS.concurrency
    await works.assert_each_paid_once(paid)
    assert (
        len(await works.rig.open_attempts())
        == await works.rig.owner.fetchval("SELECT count(*) FROM invoices") - paid
    )
    async with works.leading() as leading:
        await works.until("paid", 30, leading)
    await works.assert_each_paid_once(30)


async def test_an_attempt_that_stays_unknown_holds_nothing_up_and_is_left_to_the_successor(
    works: Works,
) -> None:
    await works.subscribe(1, prefix="poisoned")
    works.processor.fail(Operation.CONFIRM, Fault.UNKNOWN_AFTER)
    works.processor.fail(Operation.READ, Fault.UNKNOWN_BEFORE, times=1_000_000)
    async with works.leading() as leading:
        await works.until_some("SELECT count(*) FROM payment_attempts WHERE unknown_at IS NOT NULL")
        await works.subscribe(10)
        await works.until("paid", 10, leading)
    [poisoned] = await works.rig.open_attempts()
    assert poisoned.subscription_id == "sub_poisoned1"
    works.processor._rules.clear()
    async with works.leading() as leading:
        await works.until("paid", 11, leading)
    await works.assert_each_paid_once(11)


async def test_a_stale_term_ends_the_pipeline_and_the_successor_finishes_the_work(works: Works) -> None:
    await works.subscribe(80)
    old = works.lead()
    await works.until("paid", 10, old)
    term = await works.rig.superseded()
    with pytest.raises(StaleTerm):
        async with asyncio.timeout(DEADLINE_S):
            await old.task
    paid_by_the_old = await works.count("paid")
    successor = replace(works.rig, term=term)
    current = works.lead(successor)
    await works.until("paid", 80, current)
    current.draining.set()
    await current.task
    await works.assert_each_paid_once(80)
    settled = await works.rig.owner.fetch(
        "SELECT settled_term AS term, count(*) AS n FROM payment_attempts GROUP BY 1 ORDER BY 1"
    )
    assert [(row["term"], row["n"]) for row in settled] == [
        (works.rig.term.number, paid_by_the_old),
        (term.number, 80 - paid_by_the_old),
    ]


async def test_lost_trust_ends_the_pipeline_before_the_next_call(works: Works) -> None:
    await works.subscribe(80)
    leading = works.lead()
    await works.until("paid", 1, leading)
    leading.trust.end("the lease is gone")
    calls = len(works.processor.calls)
    with pytest.raises(TrustLost):
        async with asyncio.timeout(DEADLINE_S):
            await leading.task
    assert len(works.processor.calls) <= calls + 1
    async with works.leading() as next_leader:
        await works.until("paid", 80, next_leader)
    await works.assert_each_paid_once(80)


async def test_a_pipeline_whose_sessions_are_ended_again_and_again_charges_everything_once(
    works: Works,
) -> None:
    await works.subscribe(200)
    ended = 0
    async with works.leading() as leading:
        async with asyncio.timeout(DEADLINE_S):
            while (paid := await works.count("paid")) < 200:
                if paid > 20 * ended:
                    ended += await works.rig.owner.fetchval(
                        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                        " WHERE application_name = 'leader#1' AND datname = current_database() AND pid <> pg_backend_pid()"
                    )
                if leading.task.done():
                    leading.task.result()
                await asyncio.sleep(0.005)
    assert ended > 0
    assert leading.observer.unavailable > 0
    await works.assert_each_paid_once(200)
    assert await works.rig.open_attempts() == []


async def test_two_terms_of_one_office_charge_one_debt_once_even_when_both_believe_in_themselves(
    works: Works,
) -> None:
    """The old leader's calls go on for as long as its trust; its writes do not."""
    await works.subscribe(40)
    old = works.lead()
    await works.until("paid", 5, old)
    pool = works.rig.database.replica_engine("successor#1")
    try:
        term = await PostgresOffice(pool, uuid4).take_office(0, "successor#1", 2)
        current = works.lead(replace(works.rig, pool=pool, term=term))
        await works.until("paid", 40, current)
        current.draining.set()
        await current.task
        assert isinstance((await asyncio.gather(old.task, return_exceptions=True))[0], StaleTerm)
    finally:
        await pool.dispose()
    await works.assert_each_paid_once(40)
