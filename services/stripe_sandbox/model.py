"""What the ledger keeps: one slotted record per object, in the form it has in the database.

Records hold only what differs between objects; `resources/*` adds the constant rest of Stripe's JSON. Unlike values,
they change in place: the single thread that executes requests owns them. `seq` is the order of creation over all
objects. Times are Unix seconds of the sandbox's clock, amounts integers in the currency's minor unit.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol


class Record(Protocol):
    """What every kind of object has."""

    id: str
    seq: int
    created: int


@dataclass(slots=True)
class Customer:
    id: str
    seq: int
    created: int
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    description: str | None = None
    default_payment_method: str | None = None
    address: dict[str, Any] | None = None
    shipping: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    deleted: bool = False


@dataclass(slots=True)
class PaymentMethod:
    """`card` names an entry of `cards.CARDS`. `consumed` marks one that may not be used again: it was detached, or
    used without belonging to a customer."""

    id: str
    seq: int
    created: int
    card: str
    exp_month: int
    exp_year: int
    customer: str | None = None
    billing_details: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    consumed: bool = False


@dataclass(slots=True)
class PaymentIntent:
    """`charges` are the ids of all tries, oldest first. While a fault keeps the intent in `processing` or
    `requires_capture`, `lingers_until` is when that ends and `lingers_then` how. `last_error` is Stripe's error object
    without the payment method inside, which is kept by id and filled in when shown."""

    id: str
    seq: int
    created: int
    amount: int
    currency: str
    status: str
    customer: str | None = None
    payment_method: str | None = None
    payment_method_types: list[str] = field(default_factory=lambda: ["card"])
    allow_redirects: str | None = None
    amount_received: int = 0
    capture_method: str = "automatic_async"
    setup_future_usage: str | None = None
    description: str | None = None
    receipt_email: str | None = None
    statement_descriptor: str | None = None
    statement_descriptor_suffix: str | None = None
    return_url: str | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    latest_charge: str | None = None
    lingers_until: float | None = None
    lingers_then: str | None = None
    last_error: dict[str, Any] | None = None
    charges: list[str] = field(default_factory=list)
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Charge:
    """One try to take the money. `decline` is None when it succeeded."""

    id: str
    seq: int
    created: int
    amount: int
    currency: str
    payment_intent: str
    payment_method: str
    customer: str | None = None
    decline: dict[str, Any] | None = None
    amount_refunded: int = 0
    refunds: list[str] = field(default_factory=list)
    description: str | None = None
    receipt_email: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """True when the money was taken."""
        return self.decline is None


@dataclass(slots=True)
class SetupIntent:
    id: str
    seq: int
    created: int
    status: str
    customer: str | None = None
    payment_method: str | None = None
    payment_method_types: list[str] = field(default_factory=lambda: ["card"])
    allow_redirects: str | None = None
    usage: str = "off_session"
    description: str | None = None
    cancellation_reason: str | None = None
    return_url: str | None = None
    last_error: dict[str, Any] | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Refund:
    id: str
    seq: int
    created: int
    amount: int
    currency: str
    charge: str
    payment_intent: str
    reason: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class KeyRecord:
    """The life of one idempotency key. `status` is the remembered answer's, None while nothing is remembered."""

    key: str
    seq: int
    created: int
    method: str
    path: str
    body_sha256: str
    executions: int = 0
    mismatches: int = 0
    replays: int = 0
    in_flight_conflicts: int = 0
    status: int | None = None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One thing that happened. `state` is the object's record at that moment, encoded as in the database."""

    id: str
    seq: int
    created: int
    type: str
    kind: str
    state: bytes
    request_id: str | None
    idempotency_key: str | None
