"""What the operator has done, or not done, ends no subscription: real PostgreSQL, and the sandbox over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from tests.support.database import add_subscriptions
from tests.support.pipeline_works import Works
from tests.support.store_rig import StoreRig

from cluster.health import http_client
from cluster.sandbox import SandboxServer
from middleman.adapters.stripe.config import StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.domain.idempotency import checked_key
from middleman.domain.ids import PaymentMethodId, ProcessorCustomerId
from middleman.ports.processor import Attached, AttachPaymentMethod, CreateCustomer, CustomerCreated

COUNT = 40
DEADLINE_S = 40.0
_BLAMED = """
    SELECT (SELECT count(*) FROM payment_attempts WHERE status <> 'open')
         + (SELECT count(*) FROM subscriptions WHERE status <> 'active')
"""


@dataclass(slots=True)
class Account:
    """The processor's account, which a test may have restricted, and a pipeline that charges through it."""

    works: Works
    admin: httpx.AsyncClient
    rules: list[str]

    async def refuse(self, **action: Any) -> None:
        """Creations and confirmations are refused, whoever pays."""
        for operation in ("payment_intents.create", "payment_intents.confirm"):
            rule = {"match": {"operation": operation}, "action": {"type": "refuse", **action}}
            self.rules.append(
                (await self.admin.post("/admin/faults", json=rule)).raise_for_status().json()["id"]
            )

    async def allow(self) -> None:
        """As before."""
        for rule in self.rules:
            (await self.admin.delete(f"/admin/faults/{rule}")).raise_for_status()
        self.rules.clear()

    async def requests(self) -> int:
        """How often intents were created or confirmed, or were to be."""
        counted = (await self.admin.get("/admin/stats")).raise_for_status().json()["requests"]
        names = ("payment_intents.create", "payment_intents.confirm")
        return sum(sum(counted.get(name, {}).values()) for name in names)


@pytest_asyncio.fixture(loop_scope="session")
async def account(rig: StoreRig, sandbox_server: SandboxServer) -> AsyncIterator[Account]:
    headers = {"Authorization": f"Bearer {sandbox_server.admin_key}"}
    async with (
        StripeProcessor(StripeConfig(sandbox_server.api_key, sandbox_server.url)) as processor,
        http_client(10.0, base_url=sandbox_server.url, headers=headers) as admin,
    ):
        works = Works(rig, processor)  # type: ignore[arg-type]  # nothing of the fake's own is used here
        account = Account(works, admin, [])
        await _subscribe(rig, processor)
        try:
            yield account
        finally:
            await account.allow()


async def _subscribe(rig: StoreRig, processor: StripeProcessor) -> None:
    """Subscriptions that are due, each of a customer of the processor's with a card."""
    prefix = uuid4().hex[:8]  # the sandbox is shared, and its keys derive from the subscriptions' names
    await add_subscriptions(rig.owner, COUNT, prefix=prefix)
    for number in range(1, COUNT + 1):
        made = await processor.create_customer(CreateCustomer(checked_key(str(uuid4()))))
        assert isinstance(made, CustomerCreated)
        attach = AttachPaymentMethod(
            checked_key(str(uuid4())), ProcessorCustomerId(made.customer_id), PaymentMethodId("pm_card_visa")
        )
        card = await processor.attach_payment_method(attach)
        assert isinstance(card, Attached)
        await rig.owner.execute(
            "UPDATE customers SET processor_customer_id = $2, payment_method_id = $3 WHERE id = $1",
            f"cu_{prefix}{number}",
            made.customer_id,
            card.payment_method,
        )


@pytest.mark.parametrize(
    "refusal",
    [
        {"reason": "account_restricted", "stored": True},
        {"reason": "method_not_activated", "stored": False},
        {"reason": "wrong_mode", "stored": True},
        {"reason": "proxy", "status": 407},
    ],
    ids=lambda refusal: refusal["reason"],
)
async def test_a_processor_that_refuses_us_declines_nobody_and_afterwards_all_is_charged_once(
    account: Account, refusal: dict[str, Any]
) -> None:
    works = account.works
    await account.refuse(**refusal)
    async with works.leading() as leading, asyncio.timeout(DEADLINE_S):
        while not any(leading.observer.breakers.values()):  # noqa: ASYNC110  # the observer sets no events
            await asyncio.sleep(0.01)
        # Dunning would have given up by now, had any of this been a decline.
        await works.rig.owner.execute("SELECT set_test_clock('20 days', 1)")
        asked = await account.requests()
        await asyncio.sleep(2.0)
        assert await account.requests() - asked <= 2, "the leader waits, but for a probe"
        assert await works.rig.owner.fetchval(_BLAMED) == 0
        await account.allow()
        while await works.count("paid") < COUNT:  # noqa: ASYNC110  # the database sets no events of ours
            await asyncio.sleep(0.05)
    assert await works.rig.owner.fetchval("SELECT count(*) FROM payment_attempts") == COUNT
    assert {step for step, _ in leading.observer.faults} <= {"create", "confirm"}
    assert leading.observer.settlements == ["succeeded"] * COUNT
    intents = await works.rig.owner.fetch("SELECT DISTINCT payment_intent_id FROM invoices")
    assert len(intents) == COUNT
