"""What a test of a payment processor asks for again and again."""

from middleman.domain.attempts import Outcome
from middleman.domain.ids import PaymentIntentId, PaymentMethodId
from middleman.domain.intents import IntentSnapshot, IntentStatus, NotExecuted, resolve
from middleman.domain.money import Money
from middleman.ports.processor import (
    Attached,
    AttachPaymentMethod,
    Created,
    CreateIntent,
    IntentPage,
    ListIntents,
)
from tests.support.processor_rigs import Rig

PRICE = Money(1999, "EUR")
GOOD = "pm_card_visa"
FAILS_WHEN_CHARGED = "pm_card_chargeCustomerFail"
WANTS_AUTHENTICATION = "pm_card_authenticationRequired"


def create_request(rig: Rig, name: str = "create", amount: Money = PRICE) -> CreateIntent:
    metadata = {"invoice_id": f"in_{name}", "subscription_id": "sub_1", "period_no": "0"}
    return CreateIntent(rig.key(name), amount, rig.customer_id, metadata)


async def create(rig: Rig, name: str = "create", amount: Money = PRICE) -> PaymentIntentId:
    created = await rig.processor.create_intent(create_request(rig, name, amount))
    assert isinstance(created, Created), created
    return created.intent_id


async def attach(rig: Rig, token: str = GOOD) -> PaymentMethodId:
    request = AttachPaymentMethod(rig.key(f"attach-{token}"), rig.customer_id, PaymentMethodId(token))
    attached = await rig.processor.attach_payment_method(request)
    assert isinstance(attached, Attached), attached
    return attached.payment_method


async def read(rig: Rig, intent_id: PaymentIntentId) -> IntentSnapshot:
    snapshot = await rig.processor.read_intent(intent_id)
    assert isinstance(snapshot, IntentSnapshot), snapshot
    return snapshot


async def outcome_by_reading(rig: Rig, intent_id: PaymentIntentId) -> Outcome | NotExecuted:
    """What the intent tells about the first attempt."""
    return resolve(await read(rig, intent_id), ())


async def intents(rig: Rig) -> list[IntentSnapshot]:
    page = await rig.processor.list_intents(ListIntents(rig.customer_id))
    assert isinstance(page, IntentPage), page
    return list(page.intents)


async def paid(rig: Rig) -> list[PaymentIntentId]:
    return [intent.intent_id for intent in await intents(rig) if intent.status is IntentStatus.SUCCEEDED]
