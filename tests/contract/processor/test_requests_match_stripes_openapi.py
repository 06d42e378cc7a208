"""Every request that the adapter sends is one that Stripe's own document allows."""

import pytest
from tests.support.scripted_http import scripted_server
from tests.support.stripe_openapi import DOCUMENT, stripe_openapi

from middleman.adapters.stripe.config import STRIPE_VERSION, StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.domain.currencies import EXPONENTS
from middleman.domain.idempotency import checked_key
from middleman.domain.ids import PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.money import Money
from middleman.ports.processor import (
    AttachPaymentMethod,
    ConfirmIntent,
    CreateCustomer,
    CreateIntent,
    ListIntents,
)

KEY = checked_key("key")
CUSTOMER = ProcessorCustomerId("cus_1")
INTENT = PaymentIntentId("pi_1")
METHOD = PaymentMethodId("pm_1")
METADATA = {"invoice_id": "in_1_0", "subscription_id": "sub_1", "period_no": "0"}


async def test_every_request_validates_against_stripes_document() -> None:
    openapi = stripe_openapi()
    async with (
        scripted_server() as server,
        StripeProcessor(StripeConfig("sk_test_1", server.url)) as processor,
    ):
        # What comes back does not matter here: the requests have been seen.
        await processor.create_customer(CreateCustomer(KEY))
        await processor.create_customer(CreateCustomer(KEY, "a@example.com", "Ä & Ö", {"k": "v"}))
        await processor.attach_payment_method(AttachPaymentMethod(KEY, CUSTOMER, METHOD))
        for currency, exponent in EXPONENTS.items():
            price = Money(10 * 10**exponent, currency)
            await processor.create_intent(CreateIntent(KEY, price, CUSTOMER, METADATA))
        await processor.confirm_intent(ConfirmIntent(KEY, INTENT, METHOD))
        await processor.read_intent(INTENT)
        await processor.cancel_intent(INTENT)
        await processor.list_intents(ListIntents())
        await processor.list_intents(ListIntents(CUSTOMER, 1, 2, INTENT, 100))

    assert len(server.requests) == 8 + len(EXPONENTS)
    for request in server.requests:
        openapi.check_request(request.method, request.path, request.encoded)
        if request.method == "POST":
            assert request.headers["idempotency-key"]


def test_the_pinned_version_is_that_of_the_document() -> None:
    if not DOCUMENT.exists():
        pytest.skip(f"Stripe's OpenAPI document is not at {DOCUMENT}")
    assert STRIPE_VERSION in DOCUMENT.name
