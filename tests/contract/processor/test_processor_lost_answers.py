"""What becomes of a request whose answer was lost, refused for the rate, or forgotten."""

from dataclasses import replace

import pytest
from tests.support.fake_processor import Operation
from tests.support.processor_calls import (
    FAILS_WHEN_CHARGED,
    attach,
    create,
    create_request,
    intents,
    outcome_by_reading,
    paid,
)
from tests.support.processor_rigs import LOST_ANSWERS, Rig, Trouble

from middleman.domain.attempts import Declined, Succeeded, Unknown
from middleman.domain.intents import NotExecuted
from middleman.ports.processor import (
    ConfirmIntent,
    Created,
    NotSent,
    OperatorFault,
)


@pytest.mark.parametrize("trouble", LOST_ANSWERS)
async def test_a_lost_answer_to_a_create_is_cured_by_repeating_it(rig: Rig, trouble: Trouble) -> None:
    await rig.trouble(Operation.CREATE, trouble)
    request = create_request(rig)

    lost = await rig.processor.create_intent(request)
    assert isinstance(lost, Unknown), lost
    assert len(await intents(rig)) == (1 if trouble.executes else 0)

    created = await rig.processor.create_intent(request, repeat=True)
    assert isinstance(created, Created)
    assert [intent.intent_id for intent in await intents(rig)] == [created.intent_id]


@pytest.mark.parametrize("trouble", LOST_ANSWERS)
async def test_a_lost_answer_to_a_confirm_is_resolved_by_reading(rig: Rig, trouble: Trouble) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, trouble)

    lost = await rig.processor.confirm_intent(confirm)
    assert isinstance(lost, Unknown), lost
    resolved = await outcome_by_reading(rig, intent_id)
    assert isinstance(resolved, Succeeded) if trouble.executes else resolved == NotExecuted()

    outcome = await rig.processor.confirm_intent(confirm, repeat=True)
    assert isinstance(outcome, Succeeded)
    assert await outcome_by_reading(rig, intent_id) == outcome
    assert await paid(rig) == [intent_id]


async def test_a_stored_500_is_repeated_for_ever_and_only_reading_tells_the_outcome(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, Trouble.ERROR_500_STORED)

    first = await rig.processor.confirm_intent(confirm)
    repeated = await rig.processor.confirm_intent(confirm, repeat=True)

    assert isinstance(first, Unknown)
    assert first.reason == "server_error"
    assert isinstance(repeated, Unknown)
    assert repeated.reason == "server_error_replayed"
    assert isinstance(await outcome_by_reading(rig, intent_id), Succeeded)


async def test_an_intent_whose_create_is_answered_by_a_stored_500_is_found_by_listing(rig: Rig) -> None:
    await rig.trouble(Operation.CREATE, Trouble.ERROR_500_STORED)
    request = create_request(rig)

    assert isinstance(await rig.processor.create_intent(request), Unknown)
    assert isinstance(await rig.processor.create_intent(request, repeat=True), Unknown)

    assert [intent.metadata for intent in await intents(rig)] == [request.metadata]


async def test_a_lost_decline_is_found_by_reading(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig, FAILS_WHEN_CHARGED)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, Trouble.DROP_AFTER)

    assert isinstance(await rig.processor.confirm_intent(confirm), Unknown)

    resolved = await outcome_by_reading(rig, intent_id)
    repeated = await rig.processor.confirm_intent(confirm, repeat=True)
    assert isinstance(resolved, Declined)
    assert isinstance(repeated, Declined)
    assert resolved.charge_id == repeated.charge_id


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (Trouble.RATE_LIMIT, "rate_limited"),
        (Trouble.ACCOUNT_RATE_LIMIT, "account_rate_limited"),
        (Trouble.OBJECT_BUSY, "object_busy"),
    ],
)
@pytest.mark.parametrize("repeat", [False, True])
async def test_a_429_is_not_sent_at_first_and_unknown_on_a_repeat_and_says_for_whom_it_is(
    rig: Rig, repeat: bool, trouble: Trouble, reason: str
) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    await rig.trouble(Operation.CONFIRM, trouble)

    answer = await rig.processor.confirm_intent(confirm, repeat=repeat)

    assert isinstance(answer, Unknown if repeat else NotSent)
    assert answer.reason == reason
    if isinstance(answer, NotSent):
        assert answer.retry_after_s == 2.0
    assert await outcome_by_reading(rig, intent_id) == NotExecuted()
    assert isinstance(await rig.processor.confirm_intent(confirm, repeat=True), Succeeded)


@pytest.mark.parametrize("stored", [False, True])
async def test_a_refusal_for_the_operators_sake_blames_no_payer_and_passes(rig: Rig, stored: bool) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    trouble = Trouble.ACCOUNT_REFUSED_STORED if stored else Trouble.ACCOUNT_REFUSED
    await rig.trouble(Operation.CONFIRM, trouble)

    refused = await rig.processor.confirm_intent(confirm)
    assert isinstance(refused, OperatorFault)
    assert not refused.replayed
    assert await outcome_by_reading(rig, intent_id) == NotExecuted(), "nothing of it shows on the intent"

    again = await rig.processor.confirm_intent(confirm, repeat=True)
    if stored:
        assert isinstance(again, OperatorFault)
        assert again.replayed
        again = await rig.processor.confirm_intent(replace(confirm, idempotency_key=rig.key("next")))
    assert isinstance(again, Succeeded)
    assert await paid(rig) == [intent_id]


async def test_a_confirm_repeated_after_its_key_was_forgotten_moves_no_money_twice(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    confirm = ConfirmIntent(rig.key("confirm"), intent_id, method)
    outcome = await rig.processor.confirm_intent(confirm)

    async with rig.keys_forgotten():
        again = await rig.processor.confirm_intent(confirm, repeat=True)
        assert isinstance(again, Unknown)
        assert again.reason == "unexpected_state"
        assert await outcome_by_reading(rig, intent_id) == outcome


async def test_a_create_repeated_after_its_key_was_forgotten_makes_an_unpaid_orphan(rig: Rig) -> None:
    intent_id, method = await create(rig), await attach(rig)
    assert isinstance(
        await rig.processor.confirm_intent(ConfirmIntent(rig.key("confirm"), intent_id, method)), Succeeded
    )
    async with rig.keys_forgotten():
        orphan = await rig.processor.create_intent(create_request(rig), repeat=True)
        assert isinstance(orphan, Created)
        assert orphan.intent_id != intent_id
        assert await paid(rig) == [intent_id]
