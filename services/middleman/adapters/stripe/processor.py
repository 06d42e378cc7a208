"""The `PaymentProcessor` on Stripe's API, or on anything that speaks it."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import stripe
import structlog

from middleman.adapters.stripe import answers
from middleman.adapters.stripe.caller import Reply, StripeCaller
from middleman.adapters.stripe.config import StripeConfig
from middleman.adapters.stripe.objects import (
    Garbled,
    attached,
    confirmed,
    created,
    holder,
    intent_page,
    require_object,
    snapshot,
)
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.intents import IntentSnapshot
from middleman.domain.money import MoneyError, to_processor_amount
from middleman.ports.clock import ClockReading
from middleman.ports.processor import (
    NOT_SENDABLE,
    Attached,
    AttachPaymentMethod,
    ConfirmIntent,
    CreateCustomer,
    Created,
    CreateIntent,
    CustomerCreated,
    Guard,
    Holder,
    IntentPage,
    ListIntents,
    Missing,
    NotSent,
    OperatorFault,
    Refused,
)

log = structlog.get_logger(__name__)

_WITH_CHARGE = {"expand": ["latest_charge"]}
"""The charge keeps why it failed, while any update of the intent clears its `last_payment_error`."""


class StripeProcessor:
    """Implements `middleman.ports.processor.PaymentProcessor`.

    Create it inside a running event loop and `close` it there (or use ``async with``). It never retries:
    whoever asked knows what a repeat means.
    """

    def __init__(self, config: StripeConfig) -> None:
        self._stripe = StripeCaller(config)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def clock(self) -> ClockReading | None:
        """What the processor's clock showed, by the latest answer of any kind; None before the first."""
        return self._stripe.clock()

    async def create_intent(
        self, request: CreateIntent, *, repeat: bool = False, guard: Guard | None = None
    ) -> Created | Refused | OperatorFault | Unknown | NotSent:
        try:
            amount = to_processor_amount(request.amount)
        except MoneyError as reason:
            # The payer is not at fault: a price was accepted that the processor does not take (any more).
            log.error("intent.not_sendable", customer=request.customer_id, reason=str(reason))
            return NotSent(NOT_SENDABLE, detail=str(reason))
        params = {
            "amount": amount,
            "currency": request.amount.currency.lower(),
            "customer": request.customer_id,
            "payment_method_types": ["card"],
            "metadata": dict(request.metadata),
        }
        reply = await self._stripe.post("/v1/payment_intents", params, request.idempotency_key, guard)
        match reply:
            case stripe.StripeError():
                return answers.from_error(reply, repeat=repeat)
            case OperatorFault() | Unknown() | NotSent():
                return reply
        try:
            return created(reply, request.amount)
        except Garbled as reason:
            return Unknown("garbled", str(reason))

    async def confirm_intent(
        self, request: ConfirmIntent, *, repeat: bool = False, guard: Guard | None = None
    ) -> Succeeded | Declined | RequiresAction | Refused | OperatorFault | Unknown | NotSent:
        path = f"/v1/payment_intents/{_segment(request.intent_id)}/confirm"
        params = {"payment_method": request.payment_method, "off_session": True}
        reply = await self._stripe.post(path, params, request.idempotency_key, guard)
        match reply:
            case stripe.StripeError():
                return answers.decline(reply) or answers.from_error(reply, repeat=repeat)
            case OperatorFault() | Unknown() | NotSent():
                return reply
        try:
            return confirmed(reply, request)
        except Garbled as reason:
            return Unknown("garbled", str(reason))

    async def read_intent(
        self, intent_id: PaymentIntentId, *, guard: Guard | None = None
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
        reply = await self._stripe.get(f"/v1/payment_intents/{_segment(intent_id)}", _WITH_CHARGE, guard)
        return _intent(reply, intent_id)

    async def cancel_intent(
        self, intent_id: PaymentIntentId, *, guard: Guard | None = None
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
        # Canceling twice does no harm, while a remembered answer would tell how the intent stood then.
        path = f"/v1/payment_intents/{_segment(intent_id)}/cancel"
        reply = await self._stripe.post_afresh(path, guard)
        if isinstance(reply, stripe.StripeError) and answers.is_unexpected_state(reply):
            return await self.read_intent(intent_id, guard=guard)
        return _intent(reply, intent_id)

    async def list_intents(self, request: ListIntents) -> IntentPage | OperatorFault | Unknown | NotSent:
        params: dict[str, Any] = {
            "limit": request.limit,
            "customer": request.customer_id,
            "starting_after": request.after,
            "created": _given({"gte": request.created_from_s, "lte": request.created_to_s}) or None,
        }
        reply = await self._stripe.get("/v1/payment_intents", _given(params))
        match reply:
            case stripe.StripeError():
                return answers.from_read_error(reply)
            case OperatorFault() | Unknown() | NotSent():
                return reply
        try:
            return intent_page(reply)
        except Garbled as reason:
            return Unknown("garbled", str(reason))

    async def create_customer(
        self, request: CreateCustomer, *, repeat: bool = False
    ) -> CustomerCreated | Refused | OperatorFault | Unknown | NotSent:
        params = {"email": request.email, "name": request.name, "metadata": dict(request.metadata) or None}
        reply = await self._stripe.post("/v1/customers", _given(params), request.idempotency_key)
        match reply:
            case stripe.StripeError():
                return answers.from_error(reply, repeat=repeat, callers=("email", "name", "metadata"))
            case OperatorFault() | Unknown() | NotSent():
                return reply
        try:
            return CustomerCreated(ProcessorCustomerId(require_object(reply, "customer")["id"]))
        except Garbled as reason:
            return Unknown("garbled", str(reason))

    async def attach_payment_method(
        self, request: AttachPaymentMethod, *, repeat: bool = False
    ) -> Attached | Declined | Refused | OperatorFault | Unknown | NotSent:
        path = f"/v1/payment_methods/{_segment(request.payment_method)}/attach"
        reply = await self._stripe.post(path, {"customer": request.customer_id}, request.idempotency_key)
        match reply:
            case stripe.StripeError():
                return answers.card_error(reply) or answers.from_error(reply, repeat=repeat)
            case OperatorFault() | Unknown() | NotSent():
                return reply
        try:
            return attached(reply)
        except Garbled as reason:
            return Unknown("garbled", str(reason))

    async def holder_of(
        self, payment_method: PaymentMethodId
    ) -> Holder | Missing | OperatorFault | Unknown | NotSent:
        reply = await self._stripe.get(f"/v1/payment_methods/{_segment(payment_method)}", {})
        match reply:
            case stripe.StripeError():
                return Missing() if answers.is_missing(reply) else answers.from_read_error(reply)
            case Unknown() | NotSent():
                return reply
        try:
            return holder(reply)
        except Garbled as reason:
            return Unknown("garbled", str(reason))

    async def warm(self, connections: int) -> None:
        await self._stripe.warm(connections)

    async def close(self) -> None:
        await self._stripe.close()


def _intent(
    reply: Reply, intent_id: PaymentIntentId
) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
    match reply:
        case stripe.StripeError():
            if answers.is_missing(reply):
                return Missing()
            return answers.from_read_error(reply)
        case OperatorFault() | Unknown() | NotSent():
            return reply
    try:
        return snapshot(reply, intent_id)
    except Garbled as reason:
        return Unknown("garbled", str(reason))


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _segment(name: str) -> str:
    """An id as one segment of a path, so that no id can lead to another resource."""
    if not name or name in (".", ".."):
        raise ValueError(f"{name!r} is no id of the processor's")
    return quote(name, safe="")
