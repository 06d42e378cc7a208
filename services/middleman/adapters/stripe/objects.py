"""Stripe's JSON objects as the core's values. An object that does not fit raises `Garbled`."""

from collections.abc import Mapping
from typing import Any

from middleman.adapters.stripe.answers import parse_decline
from middleman.adapters.stripe.refusals import is_decline
from middleman.adapters.stripe.texts import identifier, text
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import ChargeId, PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.intents import IntentSnapshot, IntentStatus
from middleman.domain.money import Money, MoneyError, from_processor_amount
from middleman.ports.processor import AMOUNT_DIFFERS, Attached, ConfirmIntent, Created, Holder, IntentPage


class Garbled(Exception):
    """A 2xx answer that is not the object that was asked for."""


def require_object(data: object, kind: str, object_id: str | None = None) -> Mapping[str, Any]:
    """`data` as Stripe's object of that kind, and of that id where one is given."""
    if not isinstance(data, Mapping) or data.get("object") != kind or not identifier(data.get("id")):
        raise Garbled(f"expected a {kind}")
    if object_id is not None and data["id"] != object_id:
        raise Garbled(f"asked about {object_id}, answered about {data['id']}")
    return data


def snapshot(data: object, intent_id: str | None = None) -> IntentSnapshot:
    """A payment intent."""
    intent = require_object(data, "payment_intent", intent_id)
    error = intent.get("last_payment_error")
    if isinstance(error, Mapping) and is_decline(error):
        decline: Declined | None = parse_decline(error)
    else:  # cleared, or about the operator's account and no payer
        decline = failure(intent.get("latest_charge"))
    customer = id_of(intent.get("customer"))
    charge = id_of(intent.get("latest_charge"))
    method = id_of(intent.get("payment_method"))
    try:
        return IntentSnapshot(
            intent_id=PaymentIntentId(intent["id"]),
            status=IntentStatus(intent["status"]),
            amount=from_processor_amount(int(intent["amount"]), str(intent["currency"])),
            customer_id=ProcessorCustomerId(customer) if customer else None,
            metadata={str(key): str(value) for key, value in (intent.get("metadata") or {}).items()},
            latest_charge_id=ChargeId(charge) if charge else None,
            last_decline=decline,
            payment_method=PaymentMethodId(method) if method else None,
            created_s=int(intent["created"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, MoneyError) as reason:
        raise Garbled(f"payment intent {intent['id']} does not read: {reason}") from reason


def created(data: object, amount: Money) -> Created | Unknown:
    """A create that was answered with 200; the intent has to ask for `amount`."""
    intent = snapshot(data)
    if intent.amount != amount:
        return Unknown(AMOUNT_DIFFERS, f"{intent.intent_id} asks {intent.amount} instead of {amount}")
    return Created(intent.intent_id)


def failure(charge: object) -> Declined | None:
    """Why a charge failed, in the words of `last_payment_error`; None unless it is expanded, failed and says why.

    Any update of an intent clears its `last_payment_error`, and leaves the charge as it was.
    """
    if not isinstance(charge, Mapping) or charge.get("status") != "failed":
        return None
    outcome = charge.get("outcome")
    details = outcome if isinstance(outcome, Mapping) else {}
    code = text(charge.get("failure_code"))
    charge_id = identifier(charge.get("id"))
    if code is None or charge_id is None or not is_decline({"type": "card_error", "code": code}):
        return None
    return Declined(
        code=code,
        decline_code=text(details.get("reason")),
        advice_code=text(details.get("advice_code")),
        charge_id=ChargeId(charge_id),
        message=text(charge.get("failure_message")) or "",
    )


def confirmed(data: object, request: ConfirmIntent) -> Succeeded | RequiresAction | Unknown:
    """A confirm that was answered with 200."""
    intent = snapshot(data, request.intent_id)
    if request.amount is not None and intent.amount != request.amount:
        return Unknown(AMOUNT_DIFFERS, f"{intent.intent_id} asks {intent.amount} instead of {request.amount}")
    charge_id = intent.latest_charge_id
    if intent.status is IntentStatus.SUCCEEDED and charge_id is not None:
        return Succeeded(charge_id)
    if intent.status is IntentStatus.REQUIRES_ACTION:
        return RequiresAction(charge_id=charge_id)
    return Unknown(f"answered_{intent.status.value}")


def intent_page(data: Mapping[str, Any]) -> IntentPage:
    """A page of a list of payment intents."""
    items, has_more = data.get("data"), data.get("has_more")
    if not isinstance(items, list) or not isinstance(has_more, bool):
        raise Garbled("expected a list of payment intents")
    return IntentPage([snapshot(item) for item in items], has_more)


def attached(data: object) -> Attached:
    """A payment method."""
    method = require_object(data, "payment_method")
    card = method.get("card")
    shown = card if isinstance(card, Mapping) else {}
    return Attached(PaymentMethodId(method["id"]), text(shown.get("brand")), text(shown.get("last4")))


def holder(data: object) -> Holder:
    """Whose a payment method is."""
    customer_id = id_of(require_object(data, "payment_method").get("customer"))
    return Holder(None if customer_id is None else ProcessorCustomerId(customer_id))


def id_of(reference: object) -> str | None:
    """The id of a reference, which is a string or, expanded, an object."""
    if isinstance(reference, Mapping):
        reference = reference.get("id")
    return identifier(reference)
