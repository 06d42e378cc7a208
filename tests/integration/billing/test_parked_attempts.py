"""An attempt that the processor leaves without an answer waits in the database, and holds no slot of the leader."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.support.database import add_subscriptions
from tests.support.fake_processor import FakeProcessor, Operation
from tests.support.pipeline_works import LIMITS, Works
from tests.support.store_rig import DECLINED, StoreRig, intent_of

from middleman.bootstrap import owner
from middleman.domain.ids import AttemptId, NoticeId, ProcessorCustomerId
from middleman.domain.intents import IntentStatus
from middleman.ports.processor import OperatorFault
from middleman.ports.store import OpenAttempt, ParkedAttempt, ParkedNotice

ROOM = 20
FEW = replace(LIMITS, in_flight=ROOM, claim_batch=ROOM)
_PARKED = "SELECT count(*) FROM payment_attempts WHERE parked_until IS NOT NULL"


@pytest.fixture
def works(rig: StoreRig) -> Works:
    return Works(rig, FakeProcessor(), FEW)


async def until_all_are_parked(works: Works, count: int) -> None:
    async with asyncio.timeout(30):
        while await works.rig.owner.fetchval(_PARKED) < count:  # noqa: ASYNC110  # the database sets no events of ours
            await asyncio.sleep(0.02)


async def test_more_intents_in_processing_than_slots_keep_no_new_customer_waiting(works: Works) -> None:
    stuck = 2 * ROOM + 5
    await works.subscribe(stuck, prefix="slow")
    works.processor.stay_in_processing(stuck)
    async with works.leading() as leading:
        await until_all_are_parked(works, stuck)
        await works.subscribe(10)
        await works.until("paid", 10, leading)
    assert await works.count("open") == stuck


async def test_more_silent_confirms_than_slots_keep_no_new_customer_waiting(works: Works) -> None:
    """Nothing proves that the processor serves others while all slots are taken: some room is made all the same."""
    stuck = ROOM + 5
    await works.subscribe(stuck, prefix="bad")
    works.processor.always_500(Operation.CONFIRM, "cus_bad")
    async with works.leading() as leading:
        await works.until_some("SELECT count(*) FROM payment_attempts WHERE unknown_at IS NOT NULL")
        await works.subscribe(10)
        await works.until("paid", 10, leading)


async def test_a_new_leader_leaves_parked_attempts_until_their_time_has_come(works: Works) -> None:
    stuck = ROOM + 5
    await works.subscribe(stuck, prefix="slow")
    works.processor.stay_in_processing(stuck)
    async with works.leading():
        await until_all_are_parked(works, stuck)
    await works.rig.owner.execute(
        "ALTER TABLE payment_attempts DISABLE TRIGGER USER;"
        "UPDATE payment_attempts SET parked_until = clock_timestamp() + interval '1 hour' WHERE parked_until IS NOT NULL;"
        "ALTER TABLE payment_attempts ENABLE TRIGGER USER"
    )
    works.processor.calls.clear()
    async with works.leading() as successor:
        await works.subscribe(10)
        await works.until("paid", 10, successor)
    assert successor.observer.recoveries == [0]
    assert [call for call in works.processor.calls if call.operation is Operation.READ] == []


async def test_a_parked_attempt_is_settled_once_the_processor_has_decided(works: Works) -> None:
    await works.subscribe(3, prefix="slow")
    works.processor.stay_in_processing(3)
    async with works.leading() as leading:
        await until_all_are_parked(works, 3)
        works.processor.finish_processing(IntentStatus.SUCCEEDED)
        await works.until("paid", 3, leading)
    await works.assert_each_paid_once(3)
    assert await works.rig.owner.fetchval(_PARKED) == 0


async def test_parked_attempts_are_looked_at_ever_more_rarely(works: Works) -> None:
    await works.subscribe(1, prefix="slow")
    works.processor.stay_in_processing(1)
    async with works.leading():
        await works.until_some("SELECT count(*) FROM payment_attempts WHERE parked_count >= 2")
    row = await works.rig.row(
        "SELECT parked_count, unknown_reason, EXTRACT(EPOCH FROM parked_until - clock_timestamp())::float8 AS left_s"
        " FROM payment_attempts"
    )
    assert row["unknown_reason"] == "processing"
    assert row["left_s"] > 2.0
    kinds = await works.rig.owner.fetch("SELECT kind FROM events WHERE kind = 'attempt.parked'")
    assert len(kinds) == 1, "the log of events notes that it was parked, not each look"


async def test_a_confirm_with_a_stored_500_is_paid_under_a_second_key(works: Works) -> None:
    await works.subscribe(2)
    works.processor.store_500(Operation.CONFIRM, executed=False)
    async with works.leading() as leading:
        await works.until("paid", 2, leading)
    await works.assert_each_paid_once(2)
    numbers = await works.rig.owner.fetch("SELECT confirm_key_no AS no FROM payment_attempts ORDER BY 1")
    assert [row["no"] for row in numbers] == [1, 2]


async def test_a_create_with_a_stored_500_is_made_under_a_second_key(works: Works) -> None:
    await works.subscribe(2)
    works.processor.store_500(Operation.CREATE, executed=False)
    async with works.leading() as leading:
        await works.until("paid", 2, leading)
    await works.assert_each_paid_once(2)
    numbers = await works.rig.owner.fetch("SELECT create_key_no AS no FROM invoices ORDER BY 1")
    assert [row["no"] for row in numbers] == [1, 2]


async def test_an_intent_that_asks_another_amount_is_never_booked(works: Works) -> None:
    await works.subscribe(1, prefix="wrong")
    works.processor.charge_another_amount(1)
    async with works.leading():
        await until_all_are_parked(works, 1)
    row = await works.rig.row("SELECT status, unknown_reason FROM payment_attempts")
    assert (row["status"], row["unknown_reason"]) == ("open", "amount_differs")
    assert await works.count("paid") == 0


async def test_a_refusal_that_the_processor_remembers_is_no_new_decline_a_day_later(works: Works) -> None:
    """The customer was missing at the first attempt and is there at the second, which asks under the next key."""
    await works.subscribe(1)
    works.processor.forget_customer("cus_s1")
    async with works.leading() as leading:
        await works.until_some("SELECT count(*) FROM invoices WHERE next_attempt_at IS NOT NULL")
        works.processor.know_customer(ProcessorCustomerId("cus_s1"))
        await works.rig.owner.execute("SELECT set_test_clock('1 day 1 minute', 1)")
        await works.until("paid", 1, leading)
    await works.assert_each_paid_once(1)


async def test_a_fault_of_ours_declines_nobody_and_the_charge_follows(works: Works) -> None:
    await works.subscribe(1, prefix="odd")
    works.processor.refuse_us(Operation.CREATE, OperatorFault("parameter_unknown", "what?"), times=1000)
    async with works.leading() as leading:
        await works.until_some(
            "SELECT count(*) FROM events WHERE kind = 'attempt.opened' OR kind = 'invoice.opened'"
        )
        works.processor._rules.clear()
        await works.until("paid", 1, leading)
    assert await works.count("uncollectible") == 0


async def park(rig: StoreRig, attempts: Sequence[OpenAttempt], for_s: float = 3600.0) -> None:
    async with rig.store.fenced(rig.term) as transaction:
        await transaction.park_attempts(
            [ParkedAttempt(a.attempt_id, "processing", 1, for_s) for a in attempts]
        )


async def due(rig: StoreRig, carried: Sequence[AttemptId] = ()) -> list[AttemptId]:
    async with rig.store.fenced(rig.term) as transaction:
        return [each.attempt_id for each in await transaction.parked_attempts(10, carried)]


async def test_an_operator_lists_parked_attempts_and_has_them_tried_at_once(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 3)
    first, second, third = (await rig.claim()).attempts
    await park(rig, [first, second])
    url = rig.database.dsn()
    listed = await owner.parked(url)
    assert [row.attempt_id for row in listed] == [first.attempt_id, second.attempt_id]
    assert {row.reason for row in listed} == {"processing"}
    assert await due(rig) == []
    assert await owner.retry_parked(url, [first.attempt_id, third.attempt_id]) == 1
    assert await due(rig) == [first.attempt_id]
    assert await due(rig, carried=[first.attempt_id]) == []
    assert await owner.retry_parked(url, None) == 2
    assert sorted(await due(rig)) == sorted([first.attempt_id, second.attempt_id])


async def test_a_webhook_about_a_parked_attempt_has_it_tried_at_once(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 1)
    [attempt] = (await rig.claim()).attempts
    await rig.bind(attempt)
    await park(rig, [attempt])
    await file_notice(rig, attempt)
    async with rig.store.fenced(rig.term) as transaction:
        assert await transaction.pending_notices(10) == [], "the attempt looks, not the notice"
    assert await due(rig) == [attempt.attempt_id]
    notice = await rig.row("SELECT handled_at FROM processor_notices")
    assert notice["handled_at"] is not None


async def test_a_parked_notice_keeps_no_other_notice_waiting(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 2)
    first, second = (await rig.claim()).attempts
    await rig.bind(first, second)
    await rig.settle((first, DECLINED), (second, DECLINED))
    await file_notice(rig, first, "evt_1")
    async with rig.store.fenced(rig.term) as transaction:
        await transaction.park_notices([ParkedNotice(NoticeId("evt_1"), 3, 0.0)])
    await file_notice(rig, second, "evt_2")
    async with rig.store.fenced(rig.term) as transaction:
        assert [each.notice_id for each in await transaction.pending_notices(1)] == ["evt_2"]
        [parked] = await transaction.parked_notices(10, [])
        assert (parked.notice_id, parked.parked_count) == ("evt_1", 3)
        assert await transaction.parked_notices(10, [NoticeId("evt_1")]) == []


async def file_notice(rig: StoreRig, attempt: OpenAttempt, event: str = "evt_1") -> None:
    await rig.owner.execute(
        "INSERT INTO processor_notices (event_id, scope, invoice_id, payment_intent_id, kind, occurred_at)"
        " VALUES ($1, 0, $2, $3, 'intent.succeeded', now())",
        event,
        attempt.invoice_id,
        intent_of(attempt),
    )
