"""What every payment processor promises to the core (`middleman.ports.processor`)."""

import asyncio

import pytest
from tests.support.fake_processor import Operation
from tests.support.processor_rigs import LOST_ANSWERS, Rig, Trouble

from middleman.domain.attempts import Declined, Outcome, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.intents import IntentSnapshot, IntentStatus, NotExecuted, resolve
from middleman.domain.money import Money
from middleman.ports.processor import (
    Attached,
    AttachPaymentMethod,
    ConfirmIntent,
    Created,
    CreateIntent,
    IntentPage,
    ListIntents,
    Missing,
    NotSent,
    Refused,
)

PRICE = Money(1999, "EUR")
GOOD = "pm_card_visa"
FAILS_WHEN_CHARGED = "pm_card_chargeCustomerFail"
WANTS_AUTHENTICATION = "pm_card_authenticationRequired"


class GuardSpoke(Exception):
    """What a guard raises."""


def _refuse() -> None:
    raise GuardSpoke


def _create_request(rig: Rig, name: str = "create", amount: Money = PRICE) -> CreateIntent:
    metadata = {"invoice_id": f"in_{name}", "subscription_id": "sub_1", "period_no": "0"}
    return CreateIntent(rig.key(name), amount, rig.customer_id, metadata)


async def _create(rig: Rig, name: str = "create", amount: Money = PRICE) -> PaymentIntentId:
    created = await rig.processor.create_intent(_create_request(rig, name, amount))
    assert isinstance(created, Created), created
    return created.intent_id


async def _attach(rig: Rig, token: str = GOOD) -> PaymentMethodId:
    request = AttachPaymentMethod(rig.key(f"attach-{token}"), rig.customer_id, PaymentMethodId(token))
    attached = await rig.processor.attach_payment_method(request)
    assert isinstance(attached, Attached), attached
    return attached.payment_method


async def _read(rig: Rig, intent_id: PaymentIntentId) -> IntentSnapshot:
    snapshot = await rig.processor.read_intent(intent_id)
    assert isinstance(snapshot, IntentSnapshot), snapshot
    return snapshot


async def _resolved(rig: Rig, intent_id: PaymentIntentId) -> Outcome | NotExecuted:
    return resolve(await _read(rig, intent_id), ())


async def _intents(rig: Rig) -> list[IntentSnapshot]:
    page = await rig.processor.list_intents(ListIntents(rig.customer_id))
    assert isinstance(page, IntentPage), page
    return list(page.intents)


async def _paid(rig: Rig) -> list[PaymentIntentId]:
    return [intent.intent_id for intent in await _intents(rig) if intent.status is IntentStatus.SUCCEEDED]


async def test_a_created_intent_is_unconfirmed_and_reads_as_it_was_asked_for(rig: Rig) -> None:
    intent_id = await _create(rig)
    snapshot = await _read(rig, intent_id)

    assert snapshot.status is IntentStatus.REQUIRES_PAYMENT_METHOD
    assert snapshot.amount == PRICE
    assert snapshot.customer_id == rig.customer_id
    assert snapshot.metadata == _create_request(rig).metadata
    assert snapshot.created_s > 0
    assert resolve(snapshot, ()) == NotExecuted()


@pytest.mark.parametrize("amount", [Money(500, "JPY"), Money(500, "ISK"), Money(5120, "KWD")], ids=str)
async def test_amounts_come_back_in_our_minor_units(rig: Rig, amount: Money) -> None:
    assert (await _read(rig, await _create(rig, amount=amount))).amount == amount


async def test_a_confirm_moves_the_money_and_a_read_tells_the_same(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)

    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))

    assert isinstance(outcome, Succeeded)
    assert await _resolved(rig, intent_id) == outcome
    assert (await _read(rig, intent_id)).payment_method == method


async def test_a_repeat_under_the_same_key_is_answered_and_not_executed(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    outcome = await rig.processor.confirm_intent(confirm)

    assert await rig.processor.create_intent(_create_request(rig), repeat=True) == Created(intent_id)
    assert await rig.processor.confirm_intent(confirm, repeat=True) == outcome
    assert [intent.intent_id for intent in await _intents(rig)] == [intent_id]


async def test_one_key_with_other_parameters_is_unknown_and_executes_nothing(rig: Rig) -> None:
    intent_id = await _create(rig)
    answer = await rig.processor.create_intent(_create_request(rig, amount=Money(2999, "EUR")), repeat=True)

    assert isinstance(answer, Unknown)
    assert answer.reason == "idempotency_error"
    assert [intent.amount for intent in await _intents(rig)] == [PRICE]
    assert (await _read(rig, intent_id)).amount == PRICE


async def test_a_decline_is_definite_and_told_alike_by_answer_repeat_and_read(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig, FAILS_WHEN_CHARGED)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)

    declined = await rig.processor.confirm_intent(confirm)

    assert isinstance(declined, Declined)
    assert declined.code == "card_declined"
    assert declined.decline_code == "generic_decline"
    assert declined.charge_id is not None
    assert await rig.processor.confirm_intent(confirm, repeat=True) == declined
    resolved = await _resolved(rig, intent_id)
    assert isinstance(resolved, Declined)
    assert (resolved.charge_id, resolved.decline_code) == (declined.charge_id, declined.decline_code)


async def test_after_a_decline_another_attempt_pays_the_same_intent(rig: Rig) -> None:
    intent_id = await _create(rig)
    bad, good = await _attach(rig, FAILS_WHEN_CHARGED), await _attach(rig)
    declined = await rig.processor.confirm_intent(ConfirmIntent(rig.key("attempt-1"), intent_id, bad))
    assert isinstance(declined, Declined)

    # Attempt 2 is open, and its confirm was not sent yet: the trace is that of attempt 1.
    assert resolve(await _read(rig, intent_id), (declined.charge_id,)) == NotExecuted()

    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("attempt-2"), intent_id, good))
    assert isinstance(outcome, Succeeded)
    assert resolve(await _read(rig, intent_id), (declined.charge_id,)) == outcome
    assert await _paid(rig) == [intent_id]


async def test_a_card_that_wants_authentication_requires_action(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig, WANTS_AUTHENTICATION)

    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))

    assert isinstance(outcome, RequiresAction)
    assert isinstance(await _resolved(rig, intent_id), RequiresAction)


async def test_a_card_that_declines_when_attached_is_not_attached(rig: Rig) -> None:
    request = AttachPaymentMethod(
        rig.key("attach"), rig.customer_id, PaymentMethodId("pm_card_visa_chargeDeclined")
    )
    answer = await rig.processor.attach_payment_method(request)
    assert isinstance(answer, Declined)
    assert answer.code == "card_declined"


async def test_a_paid_intent_cannot_be_paid_again_under_any_key(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    outcome = await rig.processor.confirm_intent(ConfirmIntent(rig.key("one"), intent_id, method))

    again = await rig.processor.confirm_intent(ConfirmIntent(rig.key("two"), intent_id, method))

    assert isinstance(again, Unknown)
    assert again.reason == "unexpected_state"
    assert await _resolved(rig, intent_id) == outcome


async def test_concurrent_confirms_under_one_key_move_the_money_once(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)

    answers = await asyncio.gather(*(rig.processor.confirm_intent(confirm, repeat=True) for _ in range(8)))

    assert all(isinstance(answer, Succeeded | Unknown) for answer in answers)
    resolved = await _resolved(rig, intent_id)
    assert isinstance(resolved, Succeeded)
    assert {answer for answer in answers if isinstance(answer, Succeeded)} == {resolved}


async def test_a_canceled_intent_can_never_be_paid(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)

    for _ in range(2):  # canceling twice is canceling once
        canceled = await rig.processor.cancel_intent(intent_id)
        assert isinstance(canceled, IntentSnapshot)
        assert canceled.status is IntentStatus.CANCELED

    late = await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method))
    assert isinstance(late, Unknown)
    assert await _resolved(rig, intent_id) == Declined.because_canceled()


async def test_a_cancel_that_comes_too_late_shows_the_paid_intent(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
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
    intent_id = await _create(rig)
    request = ConfirmIntent(rig.key("confirm"), intent_id, PaymentMethodId("pm_0000000000000000"))

    answer = await rig.processor.confirm_intent(request)

    assert isinstance(answer, Refused)
    assert (answer.code, answer.param) == ("resource_missing", "payment_method")
    assert await _resolved(rig, intent_id) == NotExecuted()


async def test_a_list_shows_a_customers_intents_newest_first_page_by_page(rig: Rig) -> None:
    created = [await _create(rig, f"create-{n}") for n in range(5)]
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
    intent_id = await _create(rig)
    created_s = (await _read(rig, intent_id)).created_s
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


@pytest.mark.parametrize("trouble", LOST_ANSWERS)
async def test_a_lost_answer_to_a_create_is_cured_by_repeating_it(rig: Rig, trouble: Trouble) -> None:
    await rig.trouble(Operation.CREATE, trouble)
    request = _create_request(rig)

    lost = await rig.processor.create_intent(request)
    assert isinstance(lost, Unknown), lost
    assert len(await _intents(rig)) == (1 if trouble.executes else 0)

    created = await rig.processor.create_intent(request, repeat=True)
    assert isinstance(created, Created)
    assert [intent.intent_id for intent in await _intents(rig)] == [created.intent_id]


@pytest.mark.parametrize("trouble", LOST_ANSWERS)
async def test_a_lost_answer_to_a_confirm_is_resolved_by_reading(rig: Rig, trouble: Trouble) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, trouble)

    lost = await rig.processor.confirm_intent(confirm)
    assert isinstance(lost, Unknown), lost
    resolved = await _resolved(rig, intent_id)
    assert isinstance(resolved, Succeeded) if trouble.executes else resolved == NotExecuted()

    outcome = await rig.processor.confirm_intent(confirm, repeat=True)
    assert isinstance(outcome, Succeeded)
    assert await _resolved(rig, intent_id) == outcome
    assert await _paid(rig) == [intent_id]


async def test_a_stored_500_is_repeated_for_ever_and_only_reading_tells_the_outcome(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, Trouble.ERROR_500_STORED)

    first = await rig.processor.confirm_intent(confirm)
    repeated = await rig.processor.confirm_intent(confirm, repeat=True)

    assert isinstance(first, Unknown)
    assert first.reason == "server_error"
    assert isinstance(repeated, Unknown)
    assert repeated.reason == "server_error_replayed"
    assert isinstance(await _resolved(rig, intent_id), Succeeded)


async def test_an_intent_whose_create_is_answered_by_a_stored_500_is_found_by_listing(rig: Rig) -> None:
    await rig.trouble(Operation.CREATE, Trouble.ERROR_500_STORED)
    request = _create_request(rig)

    assert isinstance(await rig.processor.create_intent(request), Unknown)
    assert isinstance(await rig.processor.create_intent(request, repeat=True), Unknown)

    assert [intent.metadata for intent in await _intents(rig)] == [request.metadata]


async def test_a_lost_decline_is_found_by_reading(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig, FAILS_WHEN_CHARGED)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, Trouble.DROP_AFTER)

    assert isinstance(await rig.processor.confirm_intent(confirm), Unknown)

    resolved = await _resolved(rig, intent_id)
    repeated = await rig.processor.confirm_intent(confirm, repeat=True)
    assert isinstance(resolved, Declined)
    assert isinstance(repeated, Declined)
    assert resolved.charge_id == repeated.charge_id


@pytest.mark.parametrize("repeat", [False, True])
async def test_a_429_is_not_sent_at_first_and_unknown_on_a_repeat(rig: Rig, repeat: bool) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, Trouble.RATE_LIMIT)

    answer = await rig.processor.confirm_intent(confirm, repeat=repeat)

    assert isinstance(answer, Unknown if repeat else NotSent)
    assert answer.reason == "rate_limited"
    if isinstance(answer, NotSent):
        assert answer.retry_after_s == 2.0
    assert await _resolved(rig, intent_id) == NotExecuted()
    assert isinstance(await rig.processor.confirm_intent(confirm, repeat=True), Succeeded)


async def test_a_confirm_repeated_after_its_key_was_forgotten_moves_no_money_twice(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    outcome = await rig.processor.confirm_intent(confirm)

    async with rig.keys_forgotten():
        again = await rig.processor.confirm_intent(confirm, repeat=True)
        assert isinstance(again, Unknown)
        assert again.reason == "unexpected_state"
        assert await _resolved(rig, intent_id) == outcome


async def test_a_create_repeated_after_its_key_was_forgotten_makes_an_unpaid_orphan(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    assert isinstance(
        await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method)), Succeeded
    )
    async with rig.keys_forgotten():
        orphan = await rig.processor.create_intent(_create_request(rig), repeat=True)
        assert isinstance(orphan, Created)
        assert orphan.intent_id != intent_id
        assert await _paid(rig) == [intent_id]


async def test_what_the_guard_raises_comes_out_and_nothing_is_executed(rig: Rig) -> None:
    intent_id, method = await _create(rig), await _attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    for call in (
        rig.processor.create_intent(_create_request(rig, "other"), guard=_refuse),
        rig.processor.confirm_intent(confirm, guard=_refuse),
        rig.processor.cancel_intent(intent_id, guard=_refuse),
        rig.processor.read_intent(intent_id, guard=_refuse),
    ):
        with pytest.raises(GuardSpoke):
            await call
    assert [intent.intent_id for intent in await _intents(rig)] == [intent_id]
    assert await _resolved(rig, intent_id) == NotExecuted()


async def test_warming_and_calling_go_together(rig: Rig) -> None:
    await rig.processor.warm(4)
    assert isinstance(await _read(rig, await _create(rig)), IntentSnapshot)
