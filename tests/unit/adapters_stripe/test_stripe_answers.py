"""What each of Stripe's answers means, as it comes over the wire."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.support.scripted_http import ScriptedServer

from middleman.adapters.stripe.processor import StripeProcessor
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.idempotency import checked_key
from middleman.domain.ids import ChargeId, PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.intents import IntentSnapshot, IntentStatus
from middleman.domain.money import Money
from middleman.ports.processor import (
    Attached,
    AttachPaymentMethod,
    ConfirmIntent,
    CreateCustomer,
    Created,
    CreateIntent,
    CustomerCreated,
    IntentPage,
    ListIntents,
    Missing,
    NotSent,
    OperatorFault,
    Refused,
)

INTENT = PaymentIntentId("pi_1")
CREATE = CreateIntent(checked_key("k"), Money(1999, "EUR"), ProcessorCustomerId("cus_1"), {})
CONFIRM = ConfirmIntent(checked_key("k"), INTENT, PaymentMethodId("pm_1"))
ATTACH = AttachPaymentMethod(checked_key("k"), ProcessorCustomerId("cus_1"), PaymentMethodId("pm_1"))


def _intent(status: str, **fields: Any) -> dict[str, Any]:
    common = {"object": "payment_intent", "id": "pi_1", "amount": 1999, "currency": "eur", "created": 7}
    return {**common, "status": status, "metadata": {}, **fields}


def _error(**fields: Any) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": "No.", **fields}}


@pytest.mark.parametrize(
    ("status", "body", "headers", "first", "repeat"),
    [
        (
            429,
            _error(code="rate_limit"),
            {"Retry-After": "2", "Stripe-Rate-Limited-Reason": "endpoint-rate"},
            NotSent("rate_limited", 2.0, "endpoint-rate"),
            Unknown("rate_limited", "endpoint-rate"),
        ),
        (
            429,
            _error(code="lock_timeout"),
            {"Retry-After": "Tue, 24 Nov 2026 00:00:00 GMT"},
            NotSent("object_busy", None, "lock_timeout"),
            Unknown("object_busy", "lock_timeout"),
        ),
        (
            429,
            _error(),
            {"Stripe-Rate-Limited-Reason": "lock_timeout"},
            NotSent("object_busy", None, "lock_timeout"),
            Unknown("object_busy", "lock_timeout"),
        ),
        (
            429,
            _error(code="rate_limit"),
            {"Stripe-Rate-Limited-Reason": "resource-specific"},
            NotSent("object_busy", None, "resource-specific"),
            Unknown("object_busy", "resource-specific"),
        ),
        (
            429,
            _error(code="rate_limit"),
            {"Stripe-Rate-Limited-Reason": "global-rate"},
            NotSent("account_rate_limited", None, "global-rate"),
            Unknown("account_rate_limited", "global-rate"),
        ),
        (
            429,
            "Too many",
            {},
            NotSent("rate_limited", None, "no reason given"),
            Unknown("rate_limited", "no reason given"),
        ),
        (
            409,
            _error(code="idempotency_key_in_use"),
            {},
            *[Unknown("key_in_use", "idempotency_key_in_use")] * 2,
        ),
        (400, _error(type="idempotency_error"), {}, *[Unknown("idempotency_error", "No.")] * 2),
        (
            400,
            _error(code="payment_intent_unexpected_state"),
            {},
            *[Unknown("unexpected_state", "No.")] * 2,
        ),
        (500, _error(type="api_error"), {}, *[Unknown("server_error", "http 500")] * 2),
        (
            500,
            _error(type="api_error"),
            {"Idempotent-Replayed": "true"},
            *[Unknown("server_error_replayed", "http 500")] * 2,
        ),
        (502, "<html>Bad Gateway</html>", {}, *[Unknown("server_error", "http 502")] * 2),
        (424, _error(type="api_error"), {}, *[Unknown("server_error", "http 424")] * 2),
        (
            404,
            _error(code="resource_missing", param="customer"),
            {},
            *[Refused("resource_missing", "No.", "customer")] * 2,
        ),
        (
            400,
            _error(code="resource_missing", param="customer"),
            {"Idempotent-Replayed": "true"},
            *[Refused("resource_missing", "No.", "customer", replayed=True)] * 2,
        ),
    ],
)
async def test_an_error_means_the_same_for_every_money_call(
    processor: StripeProcessor,
    server: ScriptedServer,
    status: int,
    body: object,
    headers: Mapping[str, str],
    first: object,
    repeat: object,
) -> None:
    server.says(status, body, headers)

    assert await processor.create_intent(CREATE) == first
    assert await processor.create_intent(CREATE, repeat=True) == repeat
    assert await processor.confirm_intent(CONFIRM) == first
    assert await processor.confirm_intent(CONFIRM, repeat=True) == repeat
    assert await processor.attach_payment_method(ATTACH) == first
    assert await processor.create_customer(CreateCustomer(checked_key("k")), repeat=True) == repeat
    assert len(server.requests) == 6, "each call is sent exactly once"


@pytest.mark.parametrize("status", [401, 403])
async def test_a_bad_api_key_is_the_operators_and_is_not_quoted(
    processor: StripeProcessor, server: ScriptedServer, status: int
) -> None:
    server.says(status, _error(message="Invalid API Key provided: sk_test_*1"))
    for answer in await _every_answer(processor):
        assert isinstance(answer, OperatorFault)
        assert answer.code == "not_authorized"
        assert "STRIPE_API_KEY" in answer.message
        assert "sk_test" not in answer.message


async def _every_answer(processor: StripeProcessor) -> list[object]:
    return [
        await processor.create_intent(CREATE),
        await processor.create_intent(CREATE, repeat=True),
        await processor.confirm_intent(CONFIRM),
        await processor.confirm_intent(CONFIRM, repeat=True),
        await processor.read_intent(INTENT),
        await processor.cancel_intent(INTENT),
        await processor.list_intents(ListIntents()),
        await processor.create_customer(CreateCustomer(checked_key("k")), repeat=True),
        await processor.attach_payment_method(ATTACH),
    ]


RESTRICTED = "Your account cannot currently make live charges."
UNACTIVATED = "The charge cannot be created as the payment method used has not been activated."
OTHER_MODE = "No such customer: 'cus_1'; a similar object exists in live mode, but a test mode key was used."


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, _error(message=RESTRICTED), "invalid_request_error"),
        (402, _error(message=RESTRICTED), "invalid_request_error"),
        (402, _error(type="card_error", code="testmode_charges_only"), "testmode_charges_only"),
        (400, _error(code="payment_method_unactivated", message=UNACTIVATED), "payment_method_unactivated"),
        (
            400,
            _error(code="payment_intent_invalid_parameter", param="payment_method_types"),
            "payment_intent_invalid_parameter",
        ),
        (400, _error(message="Invalid Stripe API version: 2031-01-01"), "invalid_request_error"),
        (400, _error(code="parameter_unknown", param="off_session"), "parameter_unknown"),
        (400, _error(code="parameter_missing", param="customer"), "parameter_missing"),
        (400, _error(param="currency", message="Invalid currency: xyz"), "invalid_request_error"),
        (404, _error(message="Unrecognized request URL (POST: /v2/x)."), "invalid_request_error"),
        (400, _error(code="resource_missing", param="customer", message=OTHER_MODE), "resource_missing"),
        (400, _error(code="a_code_that_no_document_lists_yet"), "a_code_that_no_document_lists_yet"),
        (400, _error(code="Not A Code " * 9), "invalid_request_error"),
        (406, "<html>Not Acceptable</html>", "http_406"),
        (407, "<html>Proxy Authentication Required</html>", "http_407"),
        (400, "<html>Bad Request</html>", "http_400"),
        (402, "<html>Pay for your proxy</html>", "http_402"),
        (404, "not JSON", "http_404"),
        (302, "", "http_302"),
        (418, _error(), "invalid_request_error"),
    ],
)
async def test_what_concerns_no_payer_is_the_operators_fault_whatever_is_called(
    processor: StripeProcessor, server: ScriptedServer, status: int, body: object, code: str
) -> None:
    server.says(status, body, {})
    for answer in await _every_answer(processor):
        assert isinstance(answer, OperatorFault), answer
        assert answer.code == code
        assert not answer.replayed


async def test_an_operators_fault_that_is_remembered_under_the_key_says_so(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    server.says(400, _error(message=RESTRICTED), {"Idempotent-Replayed": "true"})
    assert await processor.confirm_intent(CONFIRM, repeat=True) == OperatorFault(
        "invalid_request_error", RESTRICTED, replayed=True
    )


USED_UP = (
    "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment, shared with a "
    "connected account without Customer attachment, or was detached from a Customer. It may not be used again. To use "
    "a PaymentMethod multiple times, you must attach it to a Customer first."
)


@pytest.mark.parametrize(
    ("status", "fields", "code"),
    [
        (400, {"code": "resource_missing", "param": "payment_method"}, "resource_missing"),
        (404, {"code": "resource_missing", "param": "customer"}, "resource_missing"),
        (400, {"code": "amount_too_small", "param": "amount"}, "amount_too_small"),
        (400, {"code": "amount_too_large", "param": "amount"}, "amount_too_large"),
        (400, {"code": "expired_card"}, "expired_card"),
        (400, {"code": "payment_method_unexpected_state"}, "payment_method_unexpected_state"),
        (400, {"message": USED_UP}, "invalid_request_error"),
    ],
)
async def test_what_concerns_the_payer_is_a_refusal(
    processor: StripeProcessor, server: ScriptedServer, status: int, fields: dict[str, str], code: str
) -> None:
    server.says(status, _error(**fields))
    for answer in (
        await processor.create_intent(CREATE),
        await processor.confirm_intent(CONFIRM),
        await processor.attach_payment_method(ATTACH),
    ):
        assert isinstance(answer, Refused), answer
        assert answer.code == code


@pytest.mark.parametrize(
    "fields",
    [
        {"code": "email_invalid", "param": "email"},
        {"param": "name", "message": "Invalid string: x…; must be at most 256 characters"},
        {"code": "invalid_characters", "param": "metadata[k]"},
    ],
)
async def test_a_value_that_the_caller_of_the_api_chose_is_the_callers(
    processor: StripeProcessor, server: ScriptedServer, fields: dict[str, str]
) -> None:
    server.says(400, _error(**fields))
    answer = await processor.create_customer(CreateCustomer(checked_key("k")))
    assert isinstance(answer, Refused)
    assert answer.param == fields["param"]


async def test_a_parameter_of_ours_that_the_processor_does_not_know_is_not_the_callers(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    server.says(400, _error(code="parameter_unknown", param="email"))
    answer = await processor.create_customer(CreateCustomer(checked_key("k")))
    assert isinstance(answer, OperatorFault)


@pytest.mark.parametrize("body", ["", "{", "[]", "3", '{"object":"list"}', '{"object":"payment_intent"}'])
async def test_a_success_that_is_not_the_object_asked_for_is_unknown(
    processor: StripeProcessor, server: ScriptedServer, body: str
) -> None:
    server.says(200, body)
    for answer in (
        await processor.create_intent(CREATE),
        await processor.confirm_intent(CONFIRM),
        await processor.read_intent(INTENT),
        await processor.list_intents(ListIntents()),
        await processor.create_customer(CreateCustomer(checked_key("k"))),
        await processor.attach_payment_method(ATTACH),
    ):
        assert isinstance(answer, Unknown)
        assert answer.reason == "garbled"


@pytest.mark.parametrize("error", [5, None, "no", []])
async def test_an_error_of_the_wrong_shape_declines_nobody(
    processor: StripeProcessor, server: ScriptedServer, error: object
) -> None:
    server.says(400, {"error": error})
    answer = await processor.confirm_intent(CONFIRM)
    assert isinstance(answer, OperatorFault)
    assert answer.code == "http_400"


async def test_an_answer_about_another_intent_is_not_believed(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    server.says(200, _intent("succeeded", id="pi_2", latest_charge="ch_1"))
    assert await processor.confirm_intent(CONFIRM) == Unknown(
        "garbled", "asked about pi_1, answered about pi_2"
    )


@pytest.mark.parametrize(
    ("intent", "answer"),
    [
        (_intent("succeeded", latest_charge="ch_1"), Succeeded(ChargeId("ch_1"))),
        (_intent("succeeded", latest_charge={"id": "ch_1"}), Succeeded(ChargeId("ch_1"))),
        (_intent("succeeded", latest_charge=None), Unknown("answered_succeeded")),
        (_intent("requires_action", latest_charge=None), RequiresAction()),
        (_intent("processing"), Unknown("answered_processing")),
        (_intent("requires_payment_method"), Unknown("answered_requires_payment_method")),
    ],
)
async def test_a_confirm_that_is_answered_tells_its_outcome(
    processor: StripeProcessor, server: ScriptedServer, intent: dict[str, Any], answer: object
) -> None:
    server.says(200, intent)
    assert await processor.confirm_intent(CONFIRM) == answer


async def test_a_decline_carries_its_codes_and_its_charge(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    fields = {
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "advice_code": "try_again_later",
        "charge": "ch_1",
    }
    server.says(402, _error(type="card_error", **fields))
    declined = Declined("card_declined", "insufficient_funds", "try_again_later", ChargeId("ch_1"), "No.")
    assert await processor.confirm_intent(CONFIRM) == declined
    assert await processor.confirm_intent(CONFIRM, repeat=True) == declined
    assert await processor.attach_payment_method(ATTACH) == declined


@pytest.mark.parametrize(
    ("odd", "kept"),
    [("No\0.", "No."), ("cut \ud83d", "cut ?"), ("x" * 5000, "x" * 1000)],
    ids=["NUL", "half a surrogate pair", "endless"],
)
async def test_a_text_that_no_database_can_store_is_made_one_that_it_can(
    processor: StripeProcessor, server: ScriptedServer, odd: str, kept: str
) -> None:
    server.says(402, _error(type="card_error", code="card_declined", decline_code=odd, message=odd))
    assert await processor.confirm_intent(CONFIRM) == Declined("card_declined", kept, None, None, kept)
    server.says(
        200,
        _intent(
            "requires_payment_method", last_payment_error={"type": "card_error", "code": odd, "message": odd}
        ),
    )
    snapshot = await processor.read_intent(INTENT)
    assert isinstance(snapshot, IntentSnapshot)
    assert snapshot.last_decline == Declined(kept, message=kept)
    server.says(400, _error(code=odd, message=odd))
    assert await processor.create_intent(CREATE) == OperatorFault("invalid_request_error", kept)


@pytest.mark.parametrize("odd", ["", "ch_\0", "ch_\ud83d", "ch 1\n", "c" * 256, 7])
async def test_what_is_no_identifier_is_not_taken_for_one(
    processor: StripeProcessor, server: ScriptedServer, odd: object
) -> None:
    server.says(200, _intent("succeeded", latest_charge=odd))
    answer = await processor.read_intent(INTENT)
    assert isinstance(answer, IntentSnapshot)
    assert answer.latest_charge_id is None
    server.says(200, {**_intent("requires_confirmation"), "id": odd})
    created = await processor.create_intent(CREATE)
    assert isinstance(created, Unknown)
    assert created.reason == "garbled"


@pytest.mark.parametrize(
    "codes",
    [
        {"code": "authentication_required"},
        {"code": "card_declined", "decline_code": "authentication_required"},
    ],
)
async def test_a_wish_for_authentication_is_no_decline(
    processor: StripeProcessor, server: ScriptedServer, codes: dict[str, str]
) -> None:
    server.says(402, _error(type="card_error", charge="ch_1", **codes))
    assert await processor.confirm_intent(CONFIRM) == RequiresAction(
        "authentication_required", ChargeId("ch_1"), "No."
    )


async def test_a_read_shows_all_that_resolving_needs(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    error = {"type": "card_error", "code": "expired_card", "charge": "ch_1", "message": "Expired."}
    shown = _intent(
        "requires_payment_method",
        latest_charge="ch_1",
        last_payment_error=error,
        customer="cus_1",
        payment_method=None,
        metadata={"invoice_id": "in_1"},
    )
    server.says(200, shown)
    assert await processor.read_intent(INTENT) == IntentSnapshot(
        INTENT,
        IntentStatus.REQUIRES_PAYMENT_METHOD,
        Money(1999, "EUR"),
        ProcessorCustomerId("cus_1"),
        {"invoice_id": "in_1"},
        ChargeId("ch_1"),
        Declined("expired_card", None, None, ChargeId("ch_1"), "Expired."),
        None,
        7,
    )


async def test_an_intents_last_error_that_concerns_no_payer_is_no_decline(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    for error in (
        {"type": "invalid_request_error", "message": RESTRICTED},
        {"type": "api_error", "message": "Sorry!"},
        {"type": "card_error", "code": "testmode_charges_only"},
    ):
        server.says(200, _intent("requires_payment_method", latest_charge=None, last_payment_error=error))
        snapshot = await processor.read_intent(INTENT)
        assert isinstance(snapshot, IntentSnapshot)
        assert snapshot.last_decline is None


FAILED_CHARGE = {"object": "charge", "id": "ch_1", "status": "failed", "failure_message": "No."}


@pytest.mark.parametrize(
    ("charge", "decline"),
    [
        (
            {
                **FAILED_CHARGE,
                "failure_code": "card_declined",
                "outcome": {"reason": "insufficient_funds", "advice_code": "try_again_later"},
            },
            Declined("card_declined", "insufficient_funds", "try_again_later", ChargeId("ch_1"), "No."),
        ),
        (
            {**FAILED_CHARGE, "failure_code": "authentication_required", "outcome": None},
            Declined("authentication_required", None, None, ChargeId("ch_1"), "No."),
        ),
        ({**FAILED_CHARGE, "failure_code": None}, None),
        ({**FAILED_CHARGE, "status": "pending", "failure_code": "card_declined"}, None),
        ("ch_1", None),
    ],
)
async def test_where_the_last_error_was_cleared_the_charge_tells_why_it_failed(
    processor: StripeProcessor, server: ScriptedServer, charge: object, decline: Declined | None
) -> None:
    shown = _intent("requires_payment_method", latest_charge=charge, last_payment_error=None)
    server.says(200, shown)
    snapshot = await processor.read_intent(INTENT)
    assert isinstance(snapshot, IntentSnapshot)
    assert (snapshot.latest_charge_id, snapshot.last_decline) == (ChargeId("ch_1"), decline)
    assert "expand%5B0%5D=latest_charge" in server.requests[0].encoded


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "sleeping"},
        {"amount": "much"},
        {"currency": "x1z"},
        {"created": None},
        {"metadata": "none"},
    ],
)
async def test_an_intent_that_does_not_read_is_unknown(
    processor: StripeProcessor, server: ScriptedServer, fields: dict[str, object]
) -> None:
    server.says(200, {**_intent("succeeded", latest_charge="ch_1"), **fields})
    answer = await processor.read_intent(INTENT)
    assert isinstance(answer, Unknown)
    assert answer.reason == "garbled"


async def test_what_does_not_exist_is_missing(processor: StripeProcessor, server: ScriptedServer) -> None:
    server.says(404, _error(code="resource_missing", param="intent"))
    assert await processor.read_intent(INTENT) == Missing()
    assert await processor.cancel_intent(INTENT) == Missing()


async def test_the_other_objects_read_as_well(processor: StripeProcessor, server: ScriptedServer) -> None:
    server.says(200, _intent("requires_payment_method"))
    assert await processor.create_intent(CREATE) == Created(INTENT)
    server.says(200, {"object": "customer", "id": "cus_1"})
    assert await processor.create_customer(CreateCustomer(checked_key("k"))) == CustomerCreated(
        ProcessorCustomerId("cus_1")
    )
    card = {"brand": "visa", "last4": "4242"}
    server.says(200, {"object": "payment_method", "id": "pm_2", "card": card})
    assert await processor.attach_payment_method(ATTACH) == Attached(PaymentMethodId("pm_2"), "visa", "4242")
    server.says(200, {"object": "list", "data": [_intent("canceled")], "has_more": True})
    page = await processor.list_intents(ListIntents())
    assert isinstance(page, IntentPage)
    assert [intent.status for intent in page.intents] == [IntentStatus.CANCELED]
    assert page.has_more


async def test_an_amount_that_stripe_would_refuse_is_not_sent_and_nobody_is_declined(
    processor: StripeProcessor, server: ScriptedServer
) -> None:
    request = CreateIntent(checked_key("k"), Money(5124, "KWD"), ProcessorCustomerId("cus_1"), {})
    answer = await processor.create_intent(request)
    assert isinstance(answer, NotSent), "the payer is not at fault"
    assert answer.reason == "not_sendable"
    assert not server.requests
