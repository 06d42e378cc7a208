"""What every payment processor promises to the core (`middleman.ports.processor`)."""

import asyncio
from dataclasses import replace

import pytest
from tests.support.processor_calls import (
    FAILS_WHEN_CHARGED,
    PRICE,
    WANTS_AUTHENTICATION,
    attach,
    create,
    create_request,
    intents,
    outcome_by_reading,
    paid,
    read,
)
from tests.support.processor_rigs import Rig

from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.intents import IntentSnapshot, IntentStatus, NotExecuted, resolve
from middleman.domain.money import Money
from middleman.ports.processor import (
    AttachPaymentMethod,
    ConfirmIntent,
    Created,
    CreateIntent,
    Holder,
    IntentPage,
    ListIntents,
    Missing,
    OperatorFault,
    Refused,
)


class GuardSpoke(Exception):
    """What a guard raises."""


def _refuse() -> None:
    raise GuardSpoke


async def test_a_created_intent_is_unconfirmed_and_reads_as_it_was_asked_for(rig: Rig) -> None:
    intent_id = await create(rig)
    snapshot = await read(rig, intent_id)

    assert snapshot.status is IntentStatus.REQUIRES_PAYMENT_METHOD
    assert snapshot.amount == PRICE
    assert snapshot.customer_id == rig.customer_id
    assert snapshot.metadata == create_request(rig).metadata
    assert snapshot.created_s > 0
    assert resolve(snapshot, ()) == NotExecuted()


@pytest.mark.parametrize("amount", [Money(500, "JPY"), Money(500, "ISK"), Money(5120, "KWD")], ids=str)
async def test_amounts_come_back_in_our_minor_units(rig: Rig, amount: Money) -> None:
    assert (await read(rig, await create(rig, amount=amount))).amount == amount


async def test_a_confirm_moves_the_money_and_a_read_tells_the_same(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)

    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))

    assert isinstance(outcome, Succeeded)
    assert await outcome_by_reading(rig, intent_id) == outcome
    assert (await read(rig, intent_id)).payment_method == method


async def test_a_repeat_under_the_same_key_is_answered_and_not_executed(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    outcome = await rig.processor.confirm_intent(confirm)

    assert await rig.processor.create_intent(create_request(rig), repeat=True) == Created(intent_id)
    assert await rig.processor.confirm_intent(confirm, repeat=True) == outcome
    assert [intent.intent_id for intent in await intents(rig)] == [intent_id]


async def test_one_key_with_other_parameters_is_unknown_and_executes_nothing(rig: Rig) -> None:
    intent_id = await create(rig)
    answer = await rig.processor.create_intent(create_request(rig, amount=Money(2999, "EUR")), repeat=True)

    assert isinstance(answer, Unknown)
    assert answer.reason == "idempotency_error"
    assert [intent.amount for intent in await intents(rig)] == [PRICE]
    assert (await read(rig, intent_id)).amount == PRICE


async def test_a_decline_is_definite_and_told_alike_by_answer_repeat_and_read(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig, FAILS_WHEN_CHARGED)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)

    declined = await rig.processor.confirm_intent(confirm)

    assert isinstance(declined, Declined)
    assert declined.code == "card_declined"
    assert declined.decline_code == "generic_decline"
    assert declined.charge_id is not None
    assert await rig.processor.confirm_intent(confirm, repeat=True) == declined
    resolved = await outcome_by_reading(rig, intent_id)
    assert isinstance(resolved, Declined)
    assert (resolved.charge_id, resolved.decline_code) == (declined.charge_id, declined.decline_code)


async def test_after_a_decline_another_attempt_pays_the_same_intent(rig: Rig) -> None:
    intent_id = await create(rig)
    bad, good = await attach(rig, FAILS_WHEN_CHARGED), await attach(rig)
    declined = await rig.processor.confirm_intent(ConfirmIntent(rig.key("attempt-1"), intent_id, bad))
    assert isinstance(declined, Declined)

    # Attempt 2 is open, and its confirm was not sent yet: the trace is that of attempt 1.
    assert resolve(await read(rig, intent_id), (declined.charge_id,)) == NotExecuted()

    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("attempt-2"), intent_id, good))
    assert isinstance(outcome, Succeeded)
    assert resolve(await read(rig, intent_id), (declined.charge_id,)) == outcome
    assert await paid(rig) == [intent_id]


async def test_a_card_that_wants_authentication_requires_action(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig, WANTS_AUTHENTICATION)

    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))

    assert isinstance(outcome, RequiresAction)
    assert isinstance(await outcome_by_reading(rig, intent_id), RequiresAction)


async def test_a_wish_for_authentication_is_read_also_after_the_intent_was_updated(rig: Rig) -> None:
    """An update clears `last_payment_error`; without the charge's own reason the wish would read as a decline."""
    intent_id, method = await create(rig), await attach(rig, WANTS_AUTHENTICATION)
    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))
    assert isinstance(outcome, RequiresAction)

    await rig.update(intent_id)

    resolved = await outcome_by_reading(rig, intent_id)
    assert isinstance(resolved, RequiresAction)
    assert resolved.charge_id == outcome.charge_id


async def test_a_decline_is_read_alike_before_and_after_the_intent_was_updated(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig, FAILS_WHEN_CHARGED)
    declined = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))
    assert isinstance(declined, Declined)

    await rig.update(intent_id)

    resolved = await outcome_by_reading(rig, intent_id)
    assert isinstance(resolved, Declined)
    assert replace(resolved, message="") == replace(declined, message="")


async def test_a_card_that_declines_when_attached_is_not_attached(rig: Rig) -> None:
    request = AttachPaymentMethod(
        rig.key("attach"), rig.customer_id, PaymentMethodId("pm_card_visa_chargeDeclined")
    )
    answer = await rig.processor.attach_payment_method(request)
    assert isinstance(answer, Declined)
    assert answer.code == "card_declined"


async def test_an_attached_payment_method_tells_its_customer_and_no_other_has_one(rig: Rig) -> None:
    assert await rig.processor.holder_of(await attach(rig)) == Holder(rig.customer_id)
    assert await rig.processor.holder_of(PaymentMethodId("pm_card_visa")) == Holder(None)
    assert await rig.processor.holder_of(PaymentMethodId("pm_unknown")) == Missing()


async def test_a_paid_intent_cannot_be_paid_again_under_any_key(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("one"), intent_id, method))

    again = await rig.processor.confirm_intent(ConfirmIntent(rig.key("two"), intent_id, method))

    assert isinstance(again, Unknown)
    assert again.reason == "unexpected_state"
    assert await outcome_by_reading(rig, intent_id) == outcome


async def test_concurrent_confirms_under_one_key_move_the_money_once(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)

    answers = await asyncio.gather(*(rig.processor.confirm_intent(confirm, repeat=True) for _ in range(8)))

    assert all(isinstance(answer, Succeeded | Unknown) for answer in answers)
    resolved = await outcome_by_reading(rig, intent_id)
    assert isinstance(resolved, Succeeded)
    assert {answer for answer in answers if isinstance(answer, Succeeded)} == {resolved}


async def test_a_canceled_intent_can_never_be_paid(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)

    for _ in range(2):  # canceling twice is canceling once
        canceled = await rig.processor.cancel_intent(intent_id)
        assert isinstance(canceled, IntentSnapshot)
        assert canceled.status is IntentStatus.CANCELED

    late = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))
    assert isinstance(late, Unknown)
    assert await outcome_by_reading(rig, intent_id) == Declined.because_canceled()


async def test_a_cancel_that_comes_too_late_shows_the_paid_intent(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))

    shown = await rig.processor.cancel_intent(intent_id)

    assert isinstance(shown, IntentSnapshot)
    assert resolve(shown, ()) == outcome


async def test_an_intent_that_nobody_knows_is_missing(rig: Rig) -> None:
    unknown = PaymentIntentId("pi_0000000000000000")
    assert await rig.processor.read_intent(unknown) == Missing()
    assert await rig.processor.cancel_intent(unknown) == Missing()


async def test_a_customer_that_nobody_knows_is_refused(rig: Rig) -> None:
    request = CreateIntent(rig.key("create"), PRICE, ProcessorCustomerId("cus_0000000000"), {})
    answer = await rig.processor.create_intent(request)
    assert isinstance(answer, Refused)
    assert (answer.code, answer.param) == ("resource_missing", "customer")


async def test_a_payment_method_that_nobody_knows_is_refused_and_leaves_no_trace(rig: Rig) -> None:
    intent_id = await create(rig)
    request = ConfirmIntent(rig.key("confirm"), intent_id, PaymentMethodId("pm_0000000000000000"))

    answer = await rig.processor.confirm_intent(request)

    assert isinstance(answer, Refused)
    assert (answer.code, answer.param) == ("resource_missing", "payment_method")
    assert await outcome_by_reading(rig, intent_id) == NotExecuted()


async def test_a_refusal_that_is_remembered_is_told_from_a_fresh_one(rig: Rig) -> None:
    intent_id, method = await create(rig), PaymentMethodId("pm_0000000000000000")
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)

    first = await rig.processor.confirm_intent(confirm)
    again = await rig.processor.confirm_intent(confirm, repeat=True)
    afresh = await rig.processor.confirm_intent(replace(confirm, idempotency_key=rig.key("another")))

    assert isinstance(first, Refused)
    assert isinstance(again, Refused)
    assert isinstance(afresh, Refused)
    assert (first.replayed, again.replayed, afresh.replayed) == (False, True, False)


async def test_an_intent_that_is_not_ours_is_no_refusal_of_the_payer(rig: Rig) -> None:
    method = await attach(rig)
    answer = await rig.processor.confirm_intent(
        ConfirmIntent(rig.key("confirm"), PaymentIntentId("pi_0000000000000000"), method)
    )
    assert isinstance(answer, OperatorFault)
    assert answer.code == "resource_missing"


async def test_a_list_shows_a_customers_intents_newest_first_page_by_page(rig: Rig) -> None:
    created = [await create(rig, f"create-{n}") for n in range(5)]
    shown: list[PaymentIntentId] = []
    request: ListIntents | None = ListIntents(rig.customer_id, limit=2)
    while request is not None:
        page = await rig.processor.list_intents(request)
        assert isinstance(page, IntentPage), page
        assert 0 < len(page.intents) <= 2
        shown += [intent.intent_id for intent in page.intents]
        request = ListIntents(rig.customer_id, after=shown[-1], limit=2) if page.has_more else None
    assert shown == list(reversed(created))


async def test_a_list_keeps_to_its_window(rig: Rig) -> None:
    intent_id = await create(rig)
    created_s = (await read(rig, intent_id)).created_s
    for window, found in (
        ((created_s, created_s), [intent_id]),
        ((None, created_s - 1), []),
        ((created_s + 1, None), []),
    ):
        page = await rig.processor.list_intents(
            ListIntents(rig.customer_id, created_from_s=window[0], created_to_s=window[1])
        )
        assert isinstance(page, IntentPage), page
        assert [intent.intent_id for intent in page.intents] == found


async def test_what_the_guard_raises_comes_out_and_nothing_is_executed(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    for call in (
        rig.processor.create_intent(create_request(rig, "other"), guard=_refuse),
        rig.processor.confirm_intent(confirm, guard=_refuse),
        rig.processor.cancel_intent(intent_id, guard=_refuse),
        rig.processor.read_intent(intent_id, guard=_refuse),
    ):
        with pytest.raises(GuardSpoke):
            await call
    assert [intent.intent_id for intent in await intents(rig)] == [intent_id]
    assert await outcome_by_reading(rig, intent_id) == NotExecuted()


async def test_warming_and_calling_go_together(rig: Rig) -> None:
    await rig.processor.warm(4)
    assert isinstance(await read(rig, await create(rig)), IntentSnapshot)
