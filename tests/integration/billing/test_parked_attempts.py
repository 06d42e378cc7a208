"""An attempt that the processor leaves without an answer waits in the database, and holds no slot of the leader."""

import asyncio
from dataclasses import replace

import pytest
from tests.support.fake_processor import FakeProcessor, Operation
from tests.support.pipeline_works import LIMITS, Works
from tests.support.store_rig import StoreRig

from middleman.domain.intents import IntentStatus

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
