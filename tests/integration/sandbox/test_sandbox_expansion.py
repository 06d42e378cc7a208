"""`expand`: objects in the place of their ids, and refusals of what is no reference."""

from typing import Any

import pytest
import stripe
from tests.support.sandbox_process import SandboxProcess


@pytest.fixture
def paid(client: Any) -> Any:
    """A paid intent, told with its charge by create."""
    customer = client.v1.customers.create().id
    method = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
    return client.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "confirm": True,
            "off_session": True,
            "expand": ["latest_charge"],
        }
    )


def test_a_payment_intent_comes_with_its_charge_wherever_one_asks(client: Any, paid: Any) -> None:
    charge = client.v1.charges.retrieve(paid.latest_charge.id)
    assert paid.latest_charge.to_dict() == charge.to_dict()
    intents = client.v1.payment_intents
    read = intents.retrieve(paid.id, {"expand": ["latest_charge"]})
    assert read.to_dict() == paid.to_dict()
    assert intents.retrieve(paid.id).latest_charge == charge.id
    again = intents.create(
        {"amount": 500, "currency": "usd", "payment_method": "pm_card_visa", "expand": ["latest_charge"]}
    )
    assert again.latest_charge is None
    confirmed = intents.confirm(again.id, {"off_session": True, "expand": ["latest_charge"]})
    assert confirmed.latest_charge.payment_intent == again.id
    listed = intents.list({"customer": paid.customer, "expand": ["data.latest_charge"]}).data
    assert [one.latest_charge.id for one in listed] == [charge.id]


def test_expansions_go_from_object_to_object_and_stop_at_nothing(client: Any, paid: Any) -> None:
    paths = [
        "latest_charge.customer.invoice_settings",
        "latest_charge.payment_intent.latest_charge",
        "latest_charge.balance_transaction.source",
        "payment_method",
        "payment_method.customer",
    ]
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.payment_intents.retrieve(paid.id, {"expand": paths})
    read = client.v1.payment_intents.retrieve(paid.id, {"expand": paths[1:]})
    assert read.latest_charge.payment_intent.latest_charge.id == paid.latest_charge.id
    assert read.latest_charge.balance_transaction is None
    assert read.payment_method.customer.id == paid.customer
    default = "invoice_settings.default_payment_method"
    customer = client.v1.customers.retrieve(paid.customer, {"expand": [default]})
    assert customer.invoice_settings.default_payment_method.id == read.payment_method.id
    client.v1.customers.delete(paid.customer)
    gone = client.v1.payment_intents.retrieve(paid.id, {"expand": [f"customer.{default}"]})
    assert (gone.customer.id, gone.customer.deleted) == (paid.customer, True)


def test_a_replay_gives_the_expanded_answer_again(sandbox: SandboxProcess, paid: Any) -> None:
    params = {"payment_intent": paid.id, "expand[]": "charge"}
    with sandbox.http() as http:
        answers = [
            http.post("/v1/refunds", data=params, headers={"Idempotency-Key": f"refund-{paid.id}"})
            for _ in range(2)
        ]
    assert answers[0].json()["charge"]["amount_refunded"] == 500
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    ("expand", "message"),
    [
        (["colour"], "This property cannot be expanded (colour)."),
        (["status"], "This property cannot be expanded (status)."),
        (["latest_charge.colour.x"], "This property cannot be expanded (latest_charge.colour)."),
        (["latest_charge", "data.latest_charge"], "This property cannot be expanded (data)."),
        (["latest_charge.payment_intent.latest_charge.customer.x"], "cannot expand more than 4 levels"),
        (["latest_charge.refunds"], "this sandbox does not play it"),
        (["latest_charge"] * 21, "Array expand exceeded maximum 20 allowed elements."),
        ("latest_charge", "Invalid array"),
        ({"latest_charge": "x"}, "Invalid array"),
        ([{"latest_charge": "x"}], "must be a string"),
    ],
    ids=str,
)
def test_what_cannot_be_expanded_is_refused_before_anything_happens(
    client: Any, paid: Any, expand: Any, message: str
) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.update(paid.id, {"description": "new", "expand": expand})
    assert refused.value.http_status == 400
    assert message in str(refused.value.user_message)
    assert client.v1.payment_intents.retrieve(paid.id).description is None


@pytest.mark.parametrize(
    ("expand", "message"),
    [
        ("customer", "(customer). You may want to try expanding 'data.customer' instead."),
        ("colour", "This property cannot be expanded (colour)."),
        ("data", "This property cannot be expanded (data)."),
        ("data.colour", "This property cannot be expanded (data.colour)."),
    ],
)
def test_in_a_list_the_objects_are_below_data(client: Any, expand: str, message: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.payment_intents.list({"expand": [expand]})
    assert str(refused.value.user_message).endswith(message)
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        client.v1.events.list({"expand": [f"data.{expand}"]})
