"""A customer's card wants authentication, the customer replaces it through the API, and the debt is paid."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest_asyncio
from tests.integration.api.conftest import CUSTOMER, PLAN, ApiWorld, api_world
from tests.support.fake_processor import Operation
from tests.support.pipeline_works import DEADLINE_S, Works
from tests.support.store_rig import store_rig

from cluster.postgres import PostgresServer

ASKS = "pm_card_authenticationRequired"
FAILS = "pm_card_chargeCustomerFail"
UNHANDLED = "SELECT count(*) FROM payment_method_replacements WHERE handled_at IS NULL"


@dataclass(frozen=True, slots=True)
class Billed:
    """The API and a leader, over one database and one processor."""

    api: ApiWorld
    works: Works

    async def subscribed(self, card: str) -> dict[str, Any]:
        """A subscription whose first period is due, of a customer with this card."""
        customer = await self.api.made("/v1/customers", CUSTOMER | {"payment_method": card})
        plan = await self.api.made("/v1/plans", PLAN)
        return await self.api.made(
            "/v1/subscriptions", {"customer_id": customer["id"], "plan_id": plan["id"]}
        )

    async def replace_card(self, subscription: dict[str, Any], card: str, **headers: str) -> dict[str, Any]:
        path = f"/v1/customers/{subscription['customer_id']}/payment_method"
        return await self.api.made(path, {"payment_method": card}, **headers)

    async def invoice(self, subscription: dict[str, Any]) -> dict[str, Any]:
        answer = await self.api.client.get(f"/v1/invoices/in_{subscription['id'][4:]}_0")
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def confirms(self) -> list[str]:
        return [str(call.key) for call in self.works.processor.calls if call.operation is Operation.CONFIRM]


@pytest_asyncio.fixture(loop_scope="session")
async def billed(migrated_server: PostgresServer) -> AsyncIterator[Billed]:
    async with api_world(migrated_server) as api, store_rig(api.database) as rig:
        yield Billed(api, Works(rig, api.processor))


async def test_a_customer_who_replaces_a_card_that_wants_authentication_pays(billed: Billed) -> None:
    subscription = await billed.subscribed(ASKS)
    async with billed.works.leading() as leading:
        await billed.works.until("requires_action", 1, leading)
        replaced = await billed.replace_card(subscription, "pm_card_visa")
        await billed.works.until("paid", 1, leading)
    invoice = await billed.invoice(subscription)
    first, second = invoice["payment_attempts"]
    assert (first["status"], second["status"]) == ("requires_action", "succeeded")
    assert second["payment_method_id"] == replaced["payment_method_id"] != first["payment_method_id"]
    assert len(set(billed.confirms())) == 2, "each attempt has a confirm key of its own"
    await billed.works.assert_each_paid_once(1)
    read = await billed.api.client.get(f"/v1/subscriptions/{subscription['id']}")
    assert read.json()["status"] == "active"
    events = (await billed.api.client.get("/v1/events", params={"subject": invoice["id"]})).json()["data"]
    assert [each["data"]["was"] for each in events if each["kind"] == "invoice.retry_planned"] == [
        "requires_action"
    ]


async def test_a_repeated_replacement_under_one_key_leads_to_one_more_attempt(billed: Billed) -> None:
    subscription = await billed.subscribed(FAILS)
    key = {"Idempotency-Key": "the-same-card-twice"}
    async with billed.works.leading() as leading:
        await billed.works.until_some("SELECT count(*) FROM invoices WHERE next_attempt_at IS NOT NULL")
        await billed.replace_card(subscription, FAILS, **key)
        await billed.works.until_some(
            "SELECT count(*) FROM payment_attempts WHERE status = 'declined' AND attempt_no = 2"
        )
        await billed.replace_card(subscription, FAILS, **key)
        await billed.works.until_some(f"SELECT ({UNHANDLED}) = 0")
        assert not leading.task.done()
    invoice = await billed.invoice(subscription)
    assert (invoice["attempt_count"], invoice["status"]) == (2, "open")
    assert invoice["next_attempt_at"] is not None
    assert len(billed.confirms()) == 2


async def test_a_card_replaced_while_the_first_attempt_is_in_flight_is_charged_next(billed: Billed) -> None:
    subscription = await billed.subscribed(ASKS)

    async def replaced_meanwhile(operation: Operation, _: object) -> None:
        if operation is Operation.CONFIRM:
            billed.works.processor.before_call = None
            await billed.replace_card(subscription, "pm_card_visa")
            async with billed.api.database.connect() as owner, asyncio.timeout(DEADLINE_S):
                while await owner.fetchval(UNHANDLED):  # noqa: ASYNC110  # the database sets no events of ours
                    await asyncio.sleep(0.01)

    billed.works.processor.before_call = replaced_meanwhile
    async with billed.works.leading() as leading:
        await billed.works.until("paid", 1, leading)
    statuses = [each["status"] for each in (await billed.invoice(subscription))["payment_attempts"]]
    assert statuses == ["requires_action", "succeeded"]
    await billed.works.assert_each_paid_once(1)


async def test_the_next_periods_of_a_customer_who_came_back_are_charged(billed: Billed) -> None:
    subscription = await billed.subscribed(ASKS)
    async with billed.works.leading() as leading:
        await billed.works.until("requires_action", 1, leading)
        await billed.works.rig.advance(timedelta(days=32))
        await billed.replace_card(subscription, "pm_card_visa")
        await billed.works.until("paid", 2, leading)
    await billed.works.assert_each_paid_once(2)
