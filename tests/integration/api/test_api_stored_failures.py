"""A failure that the processor stored under our key does not hold the caller's key for a day.

On the sandbox, which stores a 500 under the key and answers it again, as Stripe does.
"""

import secrets
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.integration.api.conftest import CUSTOMER, ApiWorld, api_world

from cluster.health import http_client
from cluster.postgres import PostgresServer
from cluster.sandbox import SandboxServer
from middleman.adapters.stripe.config import StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.billing.once import MOST_KEYS

FAILURE = {"type": "error_500", "stored": True, "executed": True}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(migrated_server: PostgresServer, sandbox_server: SandboxServer) -> AsyncIterator[ApiWorld]:
    config = StripeConfig(api_key=sandbox_server.api_key, api_base=sandbox_server.url)
    async with (
        StripeProcessor(config) as processor,
        api_world(migrated_server, processor=processor) as made,
    ):
        yield made


@pytest_asyncio.fixture(loop_scope="session")
async def admin(sandbox_server: SandboxServer) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {sandbox_server.admin_key}"}
    async with http_client(base_url=sandbox_server.url, headers=headers) as client:
        yield client
        (await client.delete("/admin/faults")).raise_for_status()


async def fail(
    admin: httpx.AsyncClient, operation: str, times: int = 1, action: dict[str, Any] = FAILURE
) -> None:
    rule = {"match": {"operation": operation}, "times": times, "action": action}
    (await admin.post("/admin/faults", json=rule)).raise_for_status()


async def repeated(world: ApiWorld, path: str, body: dict[str, Any], most: int = 5) -> list[httpx.Response]:
    """The answers to a request and its repeats under one key, up to the first success."""
    key, answers = {"Idempotency-Key": secrets.token_hex(8)}, []
    for n in range(most):
        client = (world.first.client, world.second.client)[n % 2]
        answers.append(await client.post(path, json=body, headers=key))
        if answers[-1].status_code < 300:
            break
    return answers


@pytest.mark.parametrize("operation", ["customers.create", "payment_methods.attach"])
@pytest.mark.parametrize("executed", [True, False])
async def test_a_repeat_makes_the_customer_after_a_stored_500(
    world: ApiWorld, admin: httpx.AsyncClient, operation: str, executed: bool
) -> None:
    await fail(admin, operation, 1, FAILURE | {"executed": executed})
    answers = await repeated(world, "/v1/customers", CUSTOMER)
    assert [answer.status_code for answer in answers] == [503, 201]
    made = answers[-1].json()
    assert (await world.client.get(f"/v1/customers/{made['id']}")).json() == made


async def test_a_repeat_replaces_the_payment_method_after_a_stored_500(
    world: ApiWorld, admin: httpx.AsyncClient
) -> None:
    customer = await world.made("/v1/customers", CUSTOMER)
    await fail(admin, "payment_methods.attach")
    path = f"/v1/customers/{customer['id']}/payment_method"
    answers = await repeated(world, path, {"payment_method": "pm_card_mastercard"})
    assert [answer.status_code for answer in answers] == [503, 200]
    assert answers[-1].json()["payment_method_id"] != customer["payment_method_id"]


async def test_a_payment_method_that_the_failed_call_attached_is_taken_as_attached(
    world: ApiWorld, admin: httpx.AsyncClient, sandbox_server: SandboxServer
) -> None:
    customer = await world.made("/v1/customers", CUSTOMER)
    headers = {"Authorization": f"Bearer {sandbox_server.api_key}"}
    async with http_client(base_url=sandbox_server.url, headers=headers) as stripe_like:
        made = await stripe_like.post("/v1/payment_methods", data={"type": "card", "card[token]": "tok_visa"})
        made.raise_for_status()
    method = made.json()["id"]
    await fail(admin, "payment_methods.attach")
    answers = await repeated(
        world, f"/v1/customers/{customer['id']}/payment_method", {"payment_method": method}
    )
    assert [answer.status_code for answer in answers] == [503, 200]
    assert answers[-1].json()["payment_method_id"] == method


async def test_a_second_failure_is_survived_too_and_an_end_of_keys_is_said(
    world: ApiWorld, admin: httpx.AsyncClient
) -> None:
    await fail(admin, "customers.create", 3)  # the repeat of the failed call counts, and gets what was stored
    assert [each.status_code for each in await repeated(world, "/v1/customers", CUSTOMER)] == [503, 503, 201]
    await fail(admin, "customers.create", 3 * MOST_KEYS)
    answers = await repeated(world, "/v1/customers", CUSTOMER, most=MOST_KEYS + 1)
    assert {each.status_code for each in answers} == {503}
    assert "the same Idempotency-Key" in answers[-2].json()["detail"]
    assert "a fresh Idempotency-Key" in answers[-1].json()["detail"]


async def test_the_number_of_the_key_survives_a_lost_commit_by_being_derived_again(
    world: ApiWorld, admin: httpx.AsyncClient
) -> None:
    await fail(admin, "customers.create")
    key = {"Idempotency-Key": secrets.token_hex(8)}
    answers = [await world.client.post("/v1/customers", json=CUSTOMER, headers=key) for _ in range(2)]
    made = answers[-1].json()
    async with world.database.connect() as owner:
        await owner.execute("DELETE FROM customers WHERE id = $1", made["id"])
        await owner.execute("DELETE FROM api_idempotency_keys WHERE key = $1", key["Idempotency-Key"])
    again = await world.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert again.status_code == 201
    assert again.json()["processor_customer_id"] == made["processor_customer_id"]
    assert again.json()["payment_method_id"] == made["payment_method_id"]
