"""Payment intents, charges and refunds: the states and refusals of Stripe, through its own SDK."""

from typing import Any

import httpx
import pytest
import stripe
from tests.support.sandbox_process import SandboxProcess, code_of, error_of


def customer_with(client: Any, token: str = "pm_card_visa") -> tuple[str, str]:
    customer = client.v1.customers.create()
    return customer.id, client.v1.payment_methods.attach(token, {"customer": customer.id}).id


def new_intent(client: Any, token: str = "pm_card_visa", **more: Any) -> Any:
    customer, method = customer_with(client, token)
    params: dict[str, Any] = {
        "amount": 1999,
        "currency": "EUR",
        "customer": customer,
        "payment_method": method,
        **more,
    }
    return client.v1.payment_intents.create(params)


def test_created_then_confirmed_off_session_it_succeeds_with_one_charge(client: Any) -> None:
    intent = new_intent(client, metadata={"subscription_id": "sub_1", "period_no": "0"})
    assert (intent.status, intent.amount_received, intent.currency) == ("requires_confirmation", 0, "eur")
    confirmed = client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    assert (confirmed.status, confirmed.amount_received) == ("succeeded", 1999)
    charges = client.v1.charges.list({"payment_intent": intent.id}).data
    assert [charge.id for charge in charges] == [confirmed.latest_charge]
    assert charges[0].paid
    assert charges[0].metadata.to_dict() == {"subscription_id": "sub_1", "period_no": "0"}
    assert client.v1.charges.retrieve(charges[0].id).payment_intent == intent.id


def test_a_succeeded_intent_never_succeeds_again(client: Any) -> None:
    intent = new_intent(client)
    client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    assert (refused.value.http_status, refused.value.code) == (400, "payment_intent_unexpected_state")
    assert error_of(refused.value)["payment_intent"]["status"] == "succeeded"
    assert code_of(lambda: client.v1.payment_intents.cancel(intent.id)) == (
        400,
        "payment_intent_unexpected_state",
    )
    assert len(client.v1.charges.list({"payment_intent": intent.id}).data) == 1


def test_a_decline_leaves_a_failed_charge_and_lets_another_card_pay(client: Any) -> None:
    intent = new_intent(client, "pm_card_chargeCustomerFail")
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    error = declined.value.error
    assert error is not None
    assert (declined.value.http_status, error.code, error.decline_code) == (
        402,
        "card_declined",
        "generic_decline",
    )
    assert (error.advice_code, error.network_decline_code) == ("try_again_later", "05")
    assert error.payment_intent is not None
    assert error.payment_intent.status == "requires_payment_method"
    read = client.v1.payment_intents.retrieve(intent.id)
    assert (read.payment_method, read.latest_charge) == (None, error.charge)
    assert read.last_payment_error is not None
    assert read.last_payment_error.decline_code == "generic_decline"
    customer = str(read.customer)
    good = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    paid = client.v1.payment_intents.confirm(intent.id, {"payment_method": good, "off_session": True})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    statuses = [charge.status for charge in client.v1.charges.list({"payment_intent": intent.id}).data]
    assert statuses == ["succeeded", "failed"]


def test_off_session_authentication_is_a_decline_and_on_session_a_wait(client: Any) -> None:
    off = new_intent(client, "pm_card_authenticationRequired")
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(off.id, {"off_session": True})
    assert declined.value.code == "authentication_required"
    assert client.v1.payment_intents.retrieve(off.id).status == "requires_payment_method"
    on = new_intent(client, "pm_card_authenticationRequired", payment_method_types=["card"])
    waiting = client.v1.payment_intents.confirm(on.id, {"return_url": "https://shop.example/back"})
    assert waiting.status == "requires_action"
    assert waiting.next_action is not None
    assert waiting.next_action.type == "redirect_to_url"
    assert client.v1.payment_intents.cancel(on.id).status == "canceled"


def test_automatic_payment_methods_that_are_not_enabled_are_off(client: Any) -> None:
    intent = new_intent(client, automatic_payment_methods={"enabled": False})
    assert (intent.automatic_payment_methods, intent.payment_method_types) == (None, ["card"])
    # With them, a customer who is present would need a return_url.
    assert client.v1.payment_intents.confirm(intent.id).status == "succeeded"
    setup = client.v1.setup_intents.create({"automatic_payment_methods": {"enabled": False}})
    assert setup.automatic_payment_methods is None
    named = {"payment_method_types": ["card"], "automatic_payment_methods": {"enabled": False}}
    assert client.v1.setup_intents.create(named).automatic_payment_methods is None


def test_automatic_and_named_payment_methods_exclude_each_other(client: Any) -> None:
    both = {"payment_method_types": ["card"], "automatic_payment_methods": {"enabled": True}}
    amount = {"amount": 500, "currency": "usd"}
    create_payment = lambda: client.v1.payment_intents.create({**amount, **both})  # noqa: E731 - read once, below
    create_setup = lambda: client.v1.setup_intents.create(both)  # noqa: E731 - read once, below
    assert code_of(create_payment) == code_of(create_setup) == (400, "parameters_exclusive")


def test_a_canceled_intent_cannot_be_confirmed(client: Any) -> None:
    intent = new_intent(client)
    canceled = client.v1.payment_intents.cancel(intent.id, {"cancellation_reason": "abandoned"})
    assert (canceled.status, canceled.cancellation_reason) == ("canceled", "abandoned")
    assert canceled.canceled_at is not None
    confirm = lambda: client.v1.payment_intents.confirm(intent.id, {"off_session": True})  # noqa: E731 - read once, below
    assert code_of(confirm) == (400, "payment_intent_unexpected_state")
    assert client.v1.charges.list({"payment_intent": intent.id}).data == []


def test_create_with_confirm_pays_at_once_with_a_bare_test_token(client: Any) -> None:
    paid = client.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "jpy",
            "payment_method": "pm_card_mastercard",
            "confirm": True,
            "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        }
    )
    assert paid.status == "succeeded"
    reuse = {"amount": 500, "currency": "jpy", "payment_method": str(paid.payment_method)}
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        client.v1.payment_intents.create(reuse)


def test_create_with_confirm_that_declines_still_keeps_the_intent(client: Any) -> None:
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.create(
            {
                "amount": 500,
                "currency": "usd",
                "payment_method": "pm_card_visa_chargeDeclinedInsufficientFunds",
                "payment_method_types": ["card"],
                "confirm": True,
            }
        )
    intent = error_of(declined.value)["payment_intent"]
    assert client.v1.payment_intents.retrieve(intent["id"]).status == "requires_payment_method"


def test_setup_future_usage_saves_the_card_with_the_payment(client: Any) -> None:
    customer = client.v1.customers.create()
    paid = client.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer.id,
            "payment_method": "pm_card_visa",
            "payment_method_types": ["card"],
            "setup_future_usage": "off_session",
            "confirm": True,
        }
    )
    saved = client.v1.payment_methods.list({"customer": customer.id}).data
    assert [method.id for method in saved] == [paid.payment_method]


def test_someone_elses_card_is_refused(client: Any) -> None:
    _, method = customer_with(client)
    stranger, _ = customer_with(client)
    with pytest.raises(stripe.InvalidRequestError, match="must be attached"):
        client.v1.payment_intents.create(
            {"amount": 500, "currency": "usd", "customer": stranger, "payment_method": method}
        )


def test_an_unconfirmed_intent_can_be_changed_and_a_paid_one_only_described(
    client: Any,
) -> None:
    intent = new_intent(client, metadata={"a": "1"})
    changed = client.v1.payment_intents.update(intent.id, {"amount": 2500, "metadata": {"b": "2"}})
    assert changed.amount == 2500
    assert changed.metadata.to_dict() == {"a": "1", "b": "2"}
    client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    amount = lambda: client.v1.payment_intents.update(intent.id, {"amount": 1})  # noqa: E731 - read once, below
    assert code_of(amount) == (400, "payment_intent_unexpected_state")
    described = client.v1.payment_intents.update(intent.id, {"metadata": {"c": "3"}, "description": "late"})
    assert described.metadata.to_dict() == {"a": "1", "b": "2", "c": "3"}


def test_refunds_never_exceed_the_charge(client: Any) -> None:
    intent = new_intent(client)
    with pytest.raises(stripe.InvalidRequestError, match="does not have a successful charge"):
        client.v1.refunds.create({"payment_intent": intent.id})
    charge = str(client.v1.payment_intents.confirm(intent.id, {"off_session": True}).latest_charge)
    part = client.v1.refunds.create(
        {"payment_intent": intent.id, "amount": 1000, "reason": "requested_by_customer"}
    )
    assert (part.status, part.charge) == ("succeeded", charge)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded") as refused:
        client.v1.refunds.create({"charge": charge, "amount": 1000})
    assert refused.value.http_status == 400
    rest = client.v1.refunds.create({"charge": charge})
    assert rest.amount == 999
    assert code_of(lambda: client.v1.refunds.create({"charge": charge})) == (400, "charge_already_refunded")
    assert client.v1.charges.retrieve(charge).refunded
    assert [one.id for one in client.v1.refunds.list({"charge": charge}).data] == [rest.id, part.id]
    assert client.v1.refunds.retrieve(part.id).amount == 1000


def test_everything_that_happened_is_an_event_with_the_object_as_it_was(client: Any) -> None:
    intent = new_intent(client)
    client.v1.payment_intents.confirm(
        intent.id, {"off_session": True}, {"idempotency_key": f"confirm-{intent.id}"}
    )
    mine = [
        event
        for event in client.v1.events.list({"limit": 20}).data
        if intent.id in (event.data.object["id"], event.data.object.to_dict().get("payment_intent"))
    ]
    assert [event.type for event in mine] == [
        "payment_intent.succeeded",
        "charge.succeeded",
        "payment_intent.created",
    ]
    assert [event.data.object["status"] for event in mine] == [
        "succeeded",
        "succeeded",
        "requires_confirmation",
    ]
    assert mine[0].request is not None
    assert mine[0].request.idempotency_key == f"confirm-{intent.id}"
    assert client.v1.events.retrieve(mine[1].id).data.object["id"] == mine[1].data.object["id"]
    only = client.v1.events.list({"type": "payment_intent.*", "limit": 5}).data
    assert {event.type.partition(".")[0] for event in only} == {"payment_intent"}


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"currency": "usd"}, "parameter_missing", "amount"),
        ({"amount": "12.5", "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": 0, "currency": "usd"}, "parameter_invalid_integer", "amount"),
        ({"amount": 100_000_000, "currency": "usd"}, "amount_too_large", "amount"),
        ({"amount": "", "currency": "usd"}, "parameter_invalid_empty", "amount"),
        ({"amount": 100, "currency": "zzz"}, None, "currency"),
        ({"amount": 100, "currency": "usd", "colour": "red"}, "parameter_unknown", "colour"),
        ({"amount": 100, "currency": "usd", "customer": "cus_nobody"}, "resource_missing", "customer"),
        (
            {"amount": 100, "currency": "usd", "payment_method": "pm_none"},
            "resource_missing",
            "payment_method",
        ),
        ({"amount": 100, "currency": "usd", "confirm": "perhaps"}, None, "confirm"),
        ({"amount": 100, "currency": "usd", "metadata": {"x" * 41: "y"}}, None, f"metadata[{'x' * 40}]"),
        ({"amount": 100, "currency": "usd", "off_session": True}, None, "off_session"),
        ({"amount": 100, "currency": "usd", "transfer_group": "g"}, None, "transfer_group"),
    ],
)
def test_bad_parameters_are_named(client: Any, params: dict[str, Any], code: str | None, param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.create(params)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, param)


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "usd", "amount_too_small"),
        (1, "EUR", "amount_too_small"),
        (29, "gbp", "amount_too_small"),
        (17499, "huf", "amount_too_small"),
        (49, "jpy", "amount_too_small"),
        (5123, "kwd", "parameter_invalid_integer"),
        (50050, "isk", "parameter_invalid_integer"),
        (50001, "ugx", "parameter_invalid_integer"),
    ],
)
def test_amounts_that_stripe_does_not_charge_are_refused(
    client: Any, amount: int, currency: str, code: str
) -> None:
    def create(amount: int) -> Any:
        return client.v1.payment_intents.create({"amount": amount, "currency": currency})

    with pytest.raises(stripe.InvalidRequestError) as refused:
        create(amount)
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, code, "amount")
    least = amount + 1 if code == "amount_too_small" else amount // 100 * 100
    if currency != "EUR":
        intent = create(least)
        assert (intent.amount, intent.currency) == (least, currency)
        update = lambda: client.v1.payment_intents.update(intent.id, {"amount": amount})  # noqa: E731 - read once, below
        assert code_of(update) == (400, code)


def test_another_currency_may_make_an_amount_too_small(client: Any) -> None:
    intent = client.v1.payment_intents.create({"amount": 100, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError, match=r"Amount must be at least 3\.00 sek") as refused:
        client.v1.payment_intents.update(intent.id, {"currency": "sek"})
    assert refused.value.code == "amount_too_small"
    assert client.v1.payment_intents.retrieve(intent.id).currency == "usd"


def test_unknown_ids_and_paths_are_404_as_at_stripe(sandbox: SandboxProcess, client: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as missing:
        client.v1.payment_intents.retrieve("pi_none")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    assert missing.value.param == "intent"
    with sandbox.http() as http:
        answer = http.get("/v1/payment_intents/search", params={"query": "x"})
        assert answer.status_code == 404
        assert "Unrecognized request URL (GET: /v1/payment_intents/search)" in answer.text
        assert http.put("/v1/customers").status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [None, "Bearer", "Bearer sk_test_wrong_wrong_wrong", "Basic !!!", "Digest sk_test_sandbox0123456789"],
)
def test_a_missing_or_wrong_api_key_is_401(sandbox: SandboxProcess, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = httpx.get(f"{sandbox.url}/v1/customers", headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert "sk_test_wrong_wrong_wrong" not in answer.text


def test_basic_authentication_works_as_with_curl(sandbox: SandboxProcess) -> None:
    with sandbox.http() as http:
        key = http.headers.pop("Authorization").removeprefix("Bearer ")
        assert http.get("/v1/customers", auth=(key, "")).status_code == 200
