"""Customers live here and at the processor, and nothing is doubled on the way."""

import pytest
from tests.integration.api.conftest import CUSTOMER, ApiWorld
from tests.support.fake_processor import Fault, Operation

from middleman.ports.processor import OperatorFault


async def test_a_customer_is_created_at_the_processor_and_its_payment_method_attached(
    world: ApiWorld,
) -> None:
    made = await world.made("/v1/customers", CUSTOMER | {"name": "Ada", "metadata": {"order": "7"}})
    assert made["id"].startswith("cu_")
    assert len(made["id"]) == 29
    assert made["processor_customer_id"].startswith("cus_")
    assert made["payment_method_id"].startswith("pm_")
    assert made["payment_method_id"] != CUSTOMER["payment_method"]  # the concrete one, not the token
    read = await world.client.get(f"/v1/customers/{made['id']}")
    assert read.json() == made
    assert [call.key for call in world.processor.calls[-2:]] == [
        f"middleman-customer-{made['id']}",
        f"middleman-attach-{made['id']}-first",
    ]


async def test_a_declined_payment_method_is_402_and_leaves_no_customer(world: ApiWorld) -> None:
    before = (await world.client.get("/v1/customers")).json()["data"]
    answer = await world.client.post(
        "/v1/customers", json=CUSTOMER | {"payment_method": "pm_card_chargeDeclined"}
    )
    assert answer.status_code == 402
    problem = answer.json()
    assert problem["type"] == "https://middleman.example/problems/payment-method-declined"
    assert problem["code"] == "card_declined"
    assert problem["decline_code"] == "generic_decline"
    assert (await world.client.get("/v1/customers")).json()["data"] == before


async def test_a_decline_is_remembered_under_its_key(world: ApiWorld) -> None:
    body = CUSTOMER | {"payment_method": "pm_card_chargeDeclined"}
    first = await world.client.post("/v1/customers", json=body, headers={"Idempotency-Key": "declined"})
    calls = len(world.processor.calls)
    again = await world.second.client.post(
        "/v1/customers", json=body, headers={"Idempotency-Key": "declined"}
    )
    assert (again.status_code, again.content) == (402, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["content-type"] == "application/problem+json"
    assert len(world.processor.calls) == calls


@pytest.mark.parametrize("fault", [Fault.NOT_SENT, Fault.UNKNOWN_BEFORE, Fault.UNKNOWN_AFTER])
@pytest.mark.parametrize("operation", [Operation.CUSTOMER, Operation.ATTACH])
async def test_after_the_processor_was_away_the_same_key_resumes_under_the_same_names(
    world: ApiWorld, operation: Operation, fault: Fault
) -> None:
    key = {"Idempotency-Key": f"away-{operation}-{fault}"}
    world.processor.fail(operation, fault)
    start = len(world.processor.calls)
    away = await world.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert away.status_code == 503
    assert away.json()["type"].endswith("/processor-unavailable")
    assert int(away.headers["Retry-After"]) >= 1
    resumed = await world.second.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert resumed.status_code == 201, resumed.text
    made = resumed.json()
    keys = {call.key for call in world.processor.calls[start:]}
    assert keys == {f"middleman-customer-{made['id']}", f"middleman-attach-{made['id']}-first"}


@pytest.mark.parametrize("operation", [Operation.CUSTOMER, Operation.ATTACH])
async def test_an_operators_fault_is_503_and_the_same_key_resumes_when_it_is_over(
    world: ApiWorld, operation: Operation
) -> None:
    key = {"Idempotency-Key": f"fault-{operation}"}
    world.processor.refuse_us(operation, OperatorFault("not_authorized", "check STRIPE_API_KEY"))
    refused = await world.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert refused.status_code == 503
    assert refused.json()["type"].endswith("/processor-misconfigured")
    assert int(refused.headers["Retry-After"]) >= 1
    resumed = await world.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert resumed.status_code == 201, resumed.text


async def test_what_the_processor_does_not_accept_is_422_with_its_words(world: ApiWorld) -> None:
    answer = await world.client.post("/v1/customers", json=CUSTOMER | {"payment_method": "pm_unheard_of"})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["type"].endswith("/processor-refused")
    assert problem["processor_code"] == "resource_missing"
    assert problem["processor_param"] == "payment_method"


async def test_a_payment_method_is_replaced_for_attempts_to_come(world: ApiWorld) -> None:
    made = await world.made("/v1/customers", CUSTOMER)
    replaced = await world.made(
        f"/v1/customers/{made['id']}/payment_method", {"payment_method": "pm_card_mastercard"}
    )
    assert replaced["payment_method_id"] != made["payment_method_id"]
    assert replaced["processor_customer_id"] == made["processor_customer_id"]
    read = (await world.client.get(f"/v1/customers/{made['id']}")).json()
    assert read["payment_method_id"] == replaced["payment_method_id"]


async def test_a_declined_replacement_leaves_the_old_payment_method(world: ApiWorld) -> None:
    made = await world.made("/v1/customers", CUSTOMER)
    answer = await world.client.post(
        f"/v1/customers/{made['id']}/payment_method", json={"payment_method": "pm_card_chargeDeclined"}
    )
    assert answer.status_code == 402
    assert (await world.client.get(f"/v1/customers/{made['id']}")).json() == made


async def test_an_unknown_customer_gets_no_payment_method_and_no_call(world: ApiWorld) -> None:
    calls = len(world.processor.calls)
    answer = await world.client.post(
        "/v1/customers/cu_0000000000000000000000000x/payment_method", json={"payment_method": "pm_card_visa"}
    )
    assert answer.status_code == 404
    assert len(world.processor.calls) == calls
