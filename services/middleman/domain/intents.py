"""What reading a payment intent tells about the open attempt that may have confirmed it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from middleman.domain.attempts import Declined, Outcome, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import ChargeId, PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.money import Money

AUTHENTICATION_REQUIRED = "authentication_required"


class IntentStatus(StrEnum):
    """https://docs.stripe.com/payments/paymentintents/lifecycle"""

    REQUIRES_PAYMENT_METHOD = "requires_payment_method"
    REQUIRES_CONFIRMATION = "requires_confirmation"
    REQUIRES_ACTION = "requires_action"
    REQUIRES_CAPTURE = "requires_capture"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class IntentSnapshot:
    """A payment intent as the processor showed it at one moment. `created_s` is its Unix time.

    `last_decline` is its last payment error or, where an update of the intent has cleared that, why its latest charge
    failed. On a canceled or succeeded intent it may be a leftover.
    """

    intent_id: PaymentIntentId
    status: IntentStatus
    amount: Money
    customer_id: ProcessorCustomerId | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    latest_charge_id: ChargeId | None = None
    last_decline: Declined | None = None
    payment_method: PaymentMethodId | None = None
    created_s: int = 0


@dataclass(frozen=True, slots=True)
class NotExecuted:
    """The open attempt's confirm left no trace yet: repeat it with the same key."""


def resolve(
    snapshot: IntentSnapshot, settled_charge_ids: Collection[ChargeId | None]
) -> Outcome | NotExecuted:
    """The outcome of the open attempt of an invoice whose intent reads like `snapshot`.

    `settled_charge_ids` are the charges of the invoice's settled attempts, with None among them if one was
    settled without a charge. They tell the trace of an earlier attempt from that of the open one. Where both
    left none, the answer is `NotExecuted`: the repeat under the same key is then answered by the
    processor's memory, or executes for the first time.
    """
    match snapshot.status:
        case IntentStatus.SUCCEEDED:
            if snapshot.latest_charge_id is None:
                return Unknown("succeeded_without_charge", f"{snapshot.intent_id} names no charge")
            return Succeeded(snapshot.latest_charge_id)
        case IntentStatus.CANCELED:
            return Declined.because_canceled()
        case IntentStatus.REQUIRES_ACTION if snapshot.latest_charge_id in settled_charge_ids:
            # An earlier attempt's wish for authentication; the open one may have another payment method.
            return NotExecuted()
        case IntentStatus.REQUIRES_ACTION:
            return RequiresAction(charge_id=snapshot.latest_charge_id)
        case IntentStatus.PROCESSING | IntentStatus.REQUIRES_CAPTURE:
            return Unknown(snapshot.status.value)
        case IntentStatus.REQUIRES_CONFIRMATION | IntentStatus.REQUIRES_PAYMENT_METHOD:
            return _resolve_unpaid(snapshot, settled_charge_ids)
        case other:
            assert_never(other)


def _resolve_unpaid(
    snapshot: IntentSnapshot, settled_charge_ids: Collection[ChargeId | None]
) -> Outcome | NotExecuted:
    decline = snapshot.last_decline
    charge_id = snapshot.latest_charge_id
    if decline is None:
        if charge_id is None or charge_id in settled_charge_ids:
            return NotExecuted()
        # The bank may have declined, or asked for authentication: without the reason nobody can tell.
        return Unknown("failed_without_reason", f"{charge_id} of {snapshot.intent_id} shows no reason")
    if decline.charge_id in settled_charge_ids:
        return NotExecuted()
    if decline.code == AUTHENTICATION_REQUIRED:
        return RequiresAction(decline.code, decline.charge_id, decline.message)
    return decline
