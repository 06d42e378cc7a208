"""From a notice to a paid invoice through the whole pipeline, and what a lie leads to: nothing."""

from dataclasses import replace

import pytest
from tests.support.fake_processor import FakeProcessor, Fault, Operation
from tests.support.pipeline_works import Works
from tests.support.store_rig import StoreRig

from middleman.domain.attempts import Declined, RequiresAction
from middleman.domain.ids import ChargeId
from middleman.domain.intents import IntentSnapshot, IntentStatus

UNHANDLED = "SELECT count(*) = 0 FROM processor_notices WHERE handled_at IS NULL"


@pytest.fixture
def works(rig: StoreRig) -> Works:
    return Works(rig, FakeProcessor())


async def tell(works: Works, kind: str = "intent.succeeded") -> None:
    """A notice about every invoice with an intent."""
    await works.rig.owner.execute(
        "INSERT INTO processor_notices (event_id, scope, invoice_id, payment_intent_id, kind, occurred_at)"
        " SELECT 'evt_' || id || $1, scope, id, payment_intent_id, $1, now() FROM invoices",
        kind,
    )


def at_the_processor(works: Works, status: IntentStatus) -> IntentSnapshot:
    """The only intent, as somebody else left it."""
    [intent] = works.processor.intents.values()
    paid = {"latest_charge_id": ChargeId("ch_else"), "last_decline": None}
    changed = replace(intent, status=status, **(paid if status is IntentStatus.SUCCEEDED else {}))  # type: ignore[arg-type]  # the fields of IntentSnapshot
    works.processor.intents[intent.intent_id] = changed
    return changed


def confirmed(works: Works) -> int:
    return sum(call.operation == "confirm" for call in works.processor.calls)


async def test_a_debt_that_the_customer_paid_is_booked_once_it_is_told_of(works: Works) -> None:
    await works.subscribe(1)
    works.processor.decline_next(RequiresAction())
    async with works.leading() as leading:
        await works.until("requires_action", 1, leading)
        at_the_processor(works, IntentStatus.SUCCEEDED)
        works.processor.fail(Operation.READ, Fault.UNKNOWN_AFTER, times=2)
        await tell(works)
        await works.until("paid", 1, leading)
        await works.until_some(UNHANDLED)
    await works.assert_each_paid_once(1)
    assert confirmed(works) == 1, "only the first attempt's"
    assert (await works.rig.row("SELECT * FROM subscriptions"))["status"] == "active"
    attempts = await works.rig.owner.fetch(
        "SELECT status, charge_id FROM payment_attempts ORDER BY attempt_no"
    )
    assert [row["status"] for row in attempts] == ["requires_action", "succeeded"]
    assert attempts[1]["charge_id"] == "ch_else"


async def test_a_debt_in_dunning_that_was_paid_meanwhile_is_booked_at_once(works: Works) -> None:
    await works.subscribe(1)
    works.processor.decline_next(Declined("card_declined", "insufficient_funds"))
    async with works.leading() as leading:
        await works.until_some("SELECT count(*) FROM invoices WHERE next_attempt_at IS NOT NULL")
        at_the_processor(works, IntentStatus.SUCCEEDED)
        await tell(works)
        await works.until("paid", 1, leading)
    assert confirmed(works) == 1


async def test_an_intent_that_somebody_canceled_ends_the_debt(works: Works) -> None:
    await works.subscribe(1)
    works.processor.decline_next(RequiresAction())
    async with works.leading() as leading:
        await works.until("requires_action", 1, leading)
        at_the_processor(works, IntentStatus.CANCELED)
        await tell(works, "intent.canceled")
        await works.until("uncollectible", 1, leading)
    assert (await works.rig.row("SELECT * FROM subscriptions"))["status"] == "canceled"
    assert confirmed(works) == 1


@pytest.mark.parametrize("kind", ["intent.succeeded", "intent.canceled"])
@pytest.mark.parametrize("verdict", [RequiresAction(), Declined("card_declined", "insufficient_funds")])
async def test_a_lie_costs_one_read_and_no_try_at_the_card(
    works: Works, verdict: RequiresAction | Declined, kind: str
) -> None:
    await works.subscribe(1)
    works.processor.decline_next(verdict)
    async with works.leading() as leading:
        await works.until_some("SELECT count(*) FROM payment_attempts WHERE status <> 'open'")
        before = await works.rig.owner.fetch("SELECT * FROM invoices")
        await tell(works, kind)
        await works.until_some(UNHANDLED)
        assert not leading.task.done()
    assert await works.rig.owner.fetch("SELECT * FROM invoices") == before
    assert confirmed(works) == 1
    assert sum(call.operation == "read" for call in works.processor.calls) == 1
    assert works.processor.paid_intents() == {}
