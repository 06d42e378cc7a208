"""Stripe's own OpenAPI document as judge of the sandbox.

Where the document is at hand, every SDK call of this folder is checked against it as well.
"""

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.support.sandbox_process import JudgedClient, SandboxProcess, code_of
from tests.support.stripe_openapi import DOCUMENT, StripeOpenApi, stripe_openapi

from stripe_sandbox.expansion import REFERENCES
from stripe_sandbox.operation import Operation
from stripe_sandbox.routing import OPERATIONS


@pytest.fixture(scope="module")
def document() -> StripeOpenApi:
    return stripe_openapi()


def test_a_whole_life_of_a_customer_validates_in_every_request_and_answer(
    document: StripeOpenApi, shared_sandbox: SandboxProcess
) -> None:
    transport = JudgedClient(document)
    client: Any = shared_sandbox.sdk(transport=transport)
    customer = client.v1.customers.create(
        {
            "email": "a@example.com",
            "address": {"city": "Graz"},
            "shipping": {"name": "A", "address": {"city": "Graz"}},
        }
    ).id
    method = client.v1.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    client.v1.customers.update(customer, {"invoice_settings": {"default_payment_method": method}})
    intent = client.v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "customer": customer,
            "payment_method": method,
            "payment_method_types": ["card"],
            "metadata": {"subscription_id": "sub_1", "period_no": "0"},
            "expand": ["latest_charge"],
        }
    ).id
    client.v1.payment_intents.confirm(intent, {"off_session": True})
    client.v1.refunds.create({"payment_intent": intent, "amount": 100})
    bad = client.v1.payment_methods.attach("pm_card_chargeCustomerFail", {"customer": customer}).id
    params = {"amount": 50, "currency": "usd", "customer": customer, "payment_method": bad, "confirm": True}
    assert code_of(lambda: client.v1.payment_intents.create({**params, "off_session": True})) == (
        402,
        "card_declined",
    )
    for listed in (client.v1.payment_intents, client.v1.charges):
        assert len(listed.list({"customer": customer, "created": {"gte": 1}}).data) == 2
    assert client.v1.refunds.list({"payment_intent": intent}).data
    assert client.v1.events.list({"limit": 100}).data
    client.v1.setup_intents.create({"customer": customer, "usage": "off_session"})
    client.v1.customers.delete(customer)
    client.v1.customers.retrieve(customer)
    assert transport.judged == 15


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_the_sandbox_takes_and_knows_of_each_operation_exactly_stripes_parameters(
    document: StripeOpenApi, operation: Operation
) -> None:
    path = operation.path.replace("{id}", "x")
    known = set(operation.spec.checks) | operation.spec.not_played
    invented = set(operation.spec.checks) - document.parameters(operation.method, path)
    assert not invented, "the sandbox takes what Stripe would refuse"
    if operation.name not in ("payment_methods.create", "customers.create", "customers.update"):
        # These three have dozens of parameters for other payment methods and for long-gone APIs.
        assert not document.parameters(operation.method, path) - known, (
            "Stripe takes what the sandbox calls unknown"
        )


@pytest.mark.parametrize("kind", [kind for kind in REFERENCES if kind != "event"])
def test_the_sandbox_knows_exactly_the_references_that_stripe_expands(kind: str) -> None:
    if not DOCUMENT.exists():
        pytest.skip(f"Stripe's OpenAPI document is not at {DOCUMENT}")
    with gzip.open(DOCUMENT) as packed:
        schema = json.load(packed)["components"]["schemas"][kind]
    expanded = {name for name, part in schema["properties"].items() if "x-expansionResources" in part}
    known = {name.partition(".")[0] for name in REFERENCES[kind]}
    assert expanded <= known <= set(schema["x-expandableFields"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda intent: intent.pop("status"), "status"),
        (lambda intent: intent.update(status="paid"), "status"),
        (lambda intent: intent.update(amount="500"), "amount"),
    ],
    ids=["missing", "not in the enumeration", "wrong type"],
)
def test_the_judge_itself_can_say_no(
    document: StripeOpenApi,
    sandbox: SandboxProcess,
    change: Callable[[dict[str, Any]], object],
    complaint: str,
) -> None:
    with sandbox.http() as http:
        intent = http.post("/v1/payment_intents", data={"amount": "500", "currency": "usd"}).json()
    document.check_answer("POST", "/v1/payment_intents", 200, json.dumps(intent))
    change(intent)
    with pytest.raises(AssertionError, match=complaint):
        document.check_answer("POST", "/v1/payment_intents", 200, json.dumps(intent))
    with pytest.raises(AssertionError, match="colour"):
        document.check_request("POST", "/v1/payment_intents", "amount=5&currency=usd&colour=red")
