"""Customers and payment methods, through Stripe's own SDK."""

from typing import Any

import pytest
import stripe
from tests.support.sandbox_process import SandboxProcess, code_of, error_of


def test_a_customer_is_created_with_a_payment_method_and_read_back(client: Any) -> None:
    created = client.v1.customers.create(
        {
            "email": "ada@example.com",
            "name": "Ada Löve & Co",
            "payment_method": "pm_card_visa",
            "invoice_settings": {"default_payment_method": "pm_card_visa"},
            "metadata": {"plan": "basic", "0": "a digit is a name"},
            "address": {"city": "Wien", "country": "AT"},
        }
    )
    read = client.v1.customers.retrieve(created.id)
    assert read.name == "Ada Löve & Co"
    assert read.metadata is not None
    assert read.metadata.to_dict() == {"plan": "basic", "0": "a digit is a name"}
    methods = client.v1.payment_methods.list({"customer": created.id}).data
    assert [method.id for method in methods] == [read.invoice_settings.default_payment_method]
    assert methods[0].card is not None
    assert methods[0].card.last4 == "4242"


def test_updating_merges_metadata_and_an_empty_value_unsets_it(client: Any) -> None:
    customer = client.v1.customers.create({"metadata": {"keep": "1", "drop": "2"}, "name": "Old"})
    updated = client.v1.customers.update(customer.id, {"metadata": {"drop": "", "new": "3"}, "name": ""})
    assert updated.metadata is not None
    assert updated.metadata.to_dict() == {"keep": "1", "new": "3"}
    assert updated.name is None
    cleared = client.v1.customers.update(customer.id, {"metadata": ""})
    assert cleared.metadata is not None
    assert cleared.metadata.to_dict() == {}


def test_a_deleted_customer_is_a_stub_that_cannot_be_charged(client: Any) -> None:
    customer = client.v1.customers.create({"payment_method": "pm_card_visa"})
    method = client.v1.payment_methods.list({"customer": customer.id}).data[0]
    assert client.v1.customers.delete(customer.id).deleted is True
    assert client.v1.customers.retrieve(customer.id).deleted is True
    assert client.v1.payment_methods.retrieve(method.id).customer is None
    charge = {"amount": 100, "currency": "usd", "customer": customer.id}
    assert code_of(lambda: client.v1.payment_intents.create(charge)) == (400, "resource_missing")
    assert customer.id not in [one.id for one in client.v1.customers.list({"limit": 100}).data]


def test_a_default_payment_method_must_be_the_customers_own(client: Any) -> None:
    mine = client.v1.customers.create()
    theirs = client.v1.customers.create({"payment_method": "pm_card_visa"})
    method = client.v1.payment_methods.list({"customer": theirs.id}).data[0]
    with pytest.raises(stripe.InvalidRequestError, match="must be attached") as refused:
        client.v1.customers.update(mine.id, {"invoice_settings": {"default_payment_method": method.id}})
    assert refused.value.param == "invoice_settings[default_payment_method]"


def test_a_method_is_attached_once_and_never_again_after_it_was_detached(client: Any) -> None:
    customer, other = client.v1.customers.create(), client.v1.customers.create()
    method = client.v1.payment_methods.create({"type": "card", "card": {"token": "tok_visa"}})
    assert method.customer is None
    assert client.v1.payment_methods.attach(method.id, {"customer": customer.id}).customer == customer.id
    with pytest.raises(stripe.InvalidRequestError, match="already been attached"):
        client.v1.payment_methods.attach(method.id, {"customer": other.id})
    client.v1.customers.update(customer.id, {"invoice_settings": {"default_payment_method": method.id}})
    assert client.v1.payment_methods.detach(method.id).customer is None
    settings = client.v1.customers.retrieve(customer.id).invoice_settings
    assert settings is not None
    assert settings.default_payment_method is None
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        client.v1.payment_methods.attach(method.id, {"customer": customer.id})


@pytest.mark.parametrize(
    ("token", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", "processing_error"),
    ],
)
def test_a_declining_card_declines_already_when_attached(
    client: Any, token: str, code: str, decline_code: str
) -> None:
    customer = client.v1.customers.create()
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_methods.attach(token, {"customer": customer.id})
    assert declined.value.http_status == 402
    assert declined.value.code == code
    assert error_of(declined.value)["decline_code"] == decline_code
    assert client.v1.payment_methods.list({"customer": customer.id}).data == []


@pytest.mark.parametrize(
    "token", ["pm_card_chargeCustomerFail", "pm_card_authenticationRequired", "pm_card_mastercard"]
)
def test_cards_that_fail_later_can_be_attached(client: Any, token: str) -> None:
    customer = client.v1.customers.create()
    assert client.v1.payment_methods.attach(token, {"customer": customer.id}).customer == customer.id


def test_a_refused_creation_leaves_no_customer_behind(sandbox: SandboxProcess, client: Any) -> None:
    before = sandbox.admin("GET", "stats")["counts"]
    with pytest.raises(stripe.CardError):
        client.v1.customers.create({"payment_method": "pm_card_visa_chargeDeclined"})
    assert sandbox.admin("GET", "stats")["counts"] == before


def test_a_setup_intent_attaches_its_card_when_it_succeeds(client: Any) -> None:
    customer = client.v1.customers.create()
    intent = client.v1.setup_intents.create({"customer": customer.id, "payment_method_types": ["card"]})
    assert intent.status == "requires_payment_method"
    confirmed = client.v1.setup_intents.confirm(intent.id, {"payment_method": "pm_card_visa"})
    assert confirmed.status == "succeeded"
    attached = client.v1.payment_methods.list({"customer": customer.id}).data
    assert [method.id for method in attached] == [confirmed.payment_method]
    assert client.v1.setup_intents.retrieve(intent.id).status == "succeeded"
    assert code_of(lambda: client.v1.setup_intents.confirm(intent.id)) == (
        400,
        "setup_intent_unexpected_state",
    )


def test_a_setup_intent_declines_and_asks_for_authentication_like_the_card(
    client: Any,
) -> None:
    customer = client.v1.customers.create()
    declined = client.v1.setup_intents.create({"customer": customer.id, "payment_method_types": ["card"]})
    params = {"payment_method": "pm_card_visa_chargeDeclined"}
    assert code_of(lambda: client.v1.setup_intents.confirm(declined.id, params)) == (402, "card_declined")
    after = client.v1.setup_intents.retrieve(declined.id)
    assert (after.status, after.payment_method) == ("requires_payment_method", None)
    asking = client.v1.setup_intents.create(
        {
            "customer": customer.id,
            "payment_method": "pm_card_authenticationRequired",
            "confirm": True,
            "payment_method_types": ["card"],
        }
    )
    assert asking.status == "requires_action"
    assert client.v1.setup_intents.cancel(asking.id).status == "canceled"
    assert client.v1.payment_methods.list({"customer": customer.id}).data == []
