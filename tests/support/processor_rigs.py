"""The processors that the contract suite runs on, and how trouble is made with each."""

import contextlib
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from enum import StrEnum

import httpx
import pytest

from cluster.health import http_client
from cluster.sandbox import SandboxServer
from middleman.adapters.stripe.config import STRIPE_API_BASE, StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.domain.idempotency import IdempotencyKey, checked_key
from middleman.domain.ids import PaymentIntentId, ProcessorCustomerId
from middleman.ports.processor import CreateCustomer, CustomerCreated, OperatorFault, PaymentProcessor
from stripe_sandbox.idempotency import FORGOTTEN_WITHIN_S, LIFETIME_S
from tests.support.fake_processor import FakeProcessor, Fault, Operation

CALL_TIMEOUT_S = 1.0
KEYS_ARE_FORGOTTEN_AFTER_S = LIFETIME_S + FORGOTTEN_WITHIN_S


class Trouble(StrEnum):
    """What can happen to one request."""

    DROP_BEFORE = "drop_before"
    RESET_BEFORE = "reset_before"
    DROP_AFTER = "drop_after"
    RESET_AFTER = "reset_after"
    TRUNCATE = "truncate"
    TOO_SLOW = "too_slow"
    ERROR_500_BEFORE = "error_500_before"
    ERROR_500_STORED = "error_500_stored"
    RATE_LIMIT = "rate_limit"
    ACCOUNT_RATE_LIMIT = "account_rate_limit"
    OBJECT_BUSY = "object_busy"
    ACCOUNT_REFUSED = "account_refused"
    ACCOUNT_REFUSED_STORED = "account_refused_stored"

    @property
    def executes(self) -> bool:
        """Whether the request is executed all the same."""
        return self not in (
            Trouble.DROP_BEFORE,
            Trouble.RESET_BEFORE,
            Trouble.ERROR_500_BEFORE,
            *RATE_LIMITS,
            *REFUSALS,
        )


RATE_LIMITS = (Trouble.RATE_LIMIT, Trouble.ACCOUNT_RATE_LIMIT, Trouble.OBJECT_BUSY)
REFUSALS = (Trouble.ACCOUNT_REFUSED, Trouble.ACCOUNT_REFUSED_STORED)
LOST_ANSWERS = [
    trouble for trouble in Trouble if trouble not in (*RATE_LIMITS, *REFUSALS, Trouble.ERROR_500_STORED)
]
"""Trouble after which a repeat under the same key gets the true answer."""

_SANDBOX_ACTIONS: dict[Trouble, dict[str, object]] = {
    Trouble.DROP_BEFORE: {"type": "drop_before"},
    Trouble.RESET_BEFORE: {"type": "reset", "when": "before"},
    Trouble.DROP_AFTER: {"type": "drop_after"},
    Trouble.RESET_AFTER: {"type": "reset", "when": "after"},
    Trouble.TRUNCATE: {"type": "truncate"},
    Trouble.TOO_SLOW: {"type": "hang", "when": "after", "hang_s": 2 * CALL_TIMEOUT_S},
    Trouble.ERROR_500_BEFORE: {"type": "error_500", "stored": False, "executed": False},
    Trouble.ERROR_500_STORED: {"type": "error_500", "stored": True, "executed": True},
    Trouble.RATE_LIMIT: {"type": "rate_limit", "retry_after_s": 2, "reason": "endpoint-rate"},
    Trouble.ACCOUNT_RATE_LIMIT: {"type": "rate_limit", "retry_after_s": 2, "reason": "global-rate"},
    Trouble.OBJECT_BUSY: {"type": "rate_limit", "retry_after_s": 2, "reason": "lock_timeout"},
    Trouble.ACCOUNT_REFUSED: {"type": "refuse", "reason": "account_restricted", "stored": False},
    Trouble.ACCOUNT_REFUSED_STORED: {"type": "refuse", "reason": "account_restricted", "stored": True},
}


class Rig(ABC):
    """A processor under test. Each test has a customer of its own, so that tests do not meet."""

    processor: PaymentProcessor
    customer_id: ProcessorCustomerId

    def key(self, name: str) -> IdempotencyKey:
        """The key of that name, in this test's name space."""
        return checked_key(f"contract-{self._space}-{name}")

    def __init__(self) -> None:
        self._space = secrets.token_hex(8)

    async def new_customer(self) -> ProcessorCustomerId:
        request = CreateCustomer(self.key("customer"), email="contract@example.com", name="Contract")
        created = await self.processor.create_customer(request)
        assert isinstance(created, CustomerCreated), created
        return created.customer_id

    @abstractmethod
    async def trouble(self, operation: Operation, trouble: Trouble) -> None:
        """The next such request of this test's customer meets trouble. Skips where none can be made."""

    @abstractmethod
    async def update(self, intent_id: PaymentIntentId) -> None:
        """Somebody updates the intent at the processor, which clears its `last_payment_error`."""

    @abstractmethod
    def keys_forgotten(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Inside, every idempotency key used before is forgotten. Skips where time cannot be moved."""


RESTRICTED = OperatorFault("invalid_request_error", "the account may not charge")
_FAKE_RATE_LIMITS = {
    Trouble.RATE_LIMIT: Fault.RATE_LIMITED,
    Trouble.ACCOUNT_RATE_LIMIT: Fault.ACCOUNT_RATE_LIMITED,
    Trouble.OBJECT_BUSY: Fault.OBJECT_BUSY,
}


class FakeRig(Rig):
    def __init__(self) -> None:
        super().__init__()
        self.processor = self._fake = FakeProcessor()

    async def trouble(self, operation: Operation, trouble: Trouble) -> None:
        if trouble in RATE_LIMITS:
            self._fake.fail(operation, _FAKE_RATE_LIMITS[trouble], retry_after_s=2.0)
        elif trouble in REFUSALS:
            stored = trouble is Trouble.ACCOUNT_REFUSED_STORED
            self._fake.refuse_us(operation, RESTRICTED, remembered=stored)
        elif trouble is Trouble.ERROR_500_STORED:
            self._fake.store_500(operation)
        else:
            self._fake.fail(operation, Fault.UNKNOWN_AFTER if trouble.executes else Fault.UNKNOWN_BEFORE)

    async def update(self, intent_id: PaymentIntentId) -> None:
        """The fake's snapshots keep the reason, as the port promises."""

    @contextlib.asynccontextmanager
    async def keys_forgotten(self) -> AsyncIterator[None]:
        self._fake.forget_keys()
        yield


async def _update(url: str, api_key: str, intent_id: PaymentIntentId) -> None:
    headers = {"Authorization": f"Bearer {api_key}"}
    async with http_client(10.0, base_url=url, headers=headers) as client:
        answer = await client.post(f"/v1/payment_intents/{intent_id}", data={"description": "updated"})
        assert answer.raise_for_status().json()["last_payment_error"] is None


class SandboxRig(Rig):
    def __init__(self, sandbox: SandboxServer, processor: StripeProcessor, admin: httpx.AsyncClient) -> None:
        super().__init__()
        self.processor, self._sandbox, self._admin = processor, sandbox, admin

    async def trouble(self, operation: Operation, trouble: Trouble) -> None:
        rule = {
            "match": {"operation": f"payment_intents.{operation}", "customer": self.customer_id},
            "times": 1,
            "action": _SANDBOX_ACTIONS[trouble],
        }
        (await self._admin.post("/admin/faults", json=rule)).raise_for_status()

    async def update(self, intent_id: PaymentIntentId) -> None:
        await _update(self._sandbox.url, self._sandbox.api_key, intent_id)

    @contextlib.asynccontextmanager
    async def keys_forgotten(self) -> AsyncIterator[None]:
        before = (await self._admin.get("/admin/clock")).raise_for_status().json()["offset_s"]
        await self._shift(before + KEYS_ARE_FORGOTTEN_AFTER_S)
        try:
            yield
        finally:
            await self._shift(before)

    async def _shift(self, offset_s: float) -> None:
        (await self._admin.post("/admin/clock", json={"offset_s": offset_s})).raise_for_status()


class StripeTestModeRig(Rig):
    def __init__(self, processor: StripeProcessor, api_key: str) -> None:
        super().__init__()
        self.processor, self._api_key = processor, api_key

    async def update(self, intent_id: PaymentIntentId) -> None:
        await _update(STRIPE_API_BASE, self._api_key, intent_id)

    async def trouble(self, operation: Operation, trouble: Trouble) -> None:
        pytest.skip(f"Stripe itself makes no {trouble} of {operation} on demand")

    def keys_forgotten(self) -> contextlib.AbstractAsyncContextManager[None]:
        pytest.skip("Stripe itself forgets a key after a day of real time only")


@contextlib.asynccontextmanager
async def fake_rig() -> AsyncIterator[Rig]:
    yield FakeRig()


@contextlib.asynccontextmanager
async def sandbox_rig(sandbox: SandboxServer) -> AsyncIterator[Rig]:
    config = StripeConfig(sandbox.api_key, sandbox.url, call_timeout_s=CALL_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {sandbox.admin_key}"}
    async with (
        StripeProcessor(config) as processor,
        http_client(10.0, base_url=sandbox.url, headers=headers) as admin,
    ):
        rig = SandboxRig(sandbox, processor, admin)
        try:
            yield rig
        finally:
            # A rule that met no request must not outlive its test.
            (await admin.delete("/admin/faults")).raise_for_status()


@contextlib.asynccontextmanager
async def stripe_rig(api_key: str) -> AsyncIterator[Rig]:
    async with StripeProcessor(StripeConfig(api_key)) as processor:
        yield StripeTestModeRig(processor, api_key)
