"""The payment processor, as the core needs it. No SDK type crosses this port.

Every answer is a value; an exception means a programming error, a guard that spoke, or cancellation.

=================  ====================================================================================
answer             what the caller may conclude, and does next
=================  ====================================================================================
`NotSent`          *this call* was definitely not executed: refused connection, DNS, TLS, pool wait, or a 429
                   on the first send. Send the same again under the same key, after `retry_after_s` where
                   given.
`Unknown`          it may have been executed: timeout, reset, 5xx, 409, garbled body, an answer that does
                   not fit the key; and a 409 or 429 on a *repeat*, which says nothing about the earlier
                   send. A confirm: read the intent. A create: repeat it under the same key, it moves no
                   money.
`Refused`          a definite no that concerns the payer and is no decline of a bank: this customer, payment
                   method or amount (`middleman.adapters.stripe.refusals` has the list). Repeating it is of
                   no use. On a repeat it is definite for this call only: read before settling.
`OperatorFault`    a no that concerns us, whoever pays: an account that is restricted, a key without a right,
                   a parameter or a version that the processor does not know, a proxy that refuses. Nobody is
                   declined for it. It says nothing about an earlier send, and a proxy may have passed the
                   request on: leave the attempt open, and read before confirming again.
=================  ====================================================================================

`Refused` and `OperatorFault` may be `replayed`: the processor remembers the answer under this key and gives it
again for at least a day, whatever has changed since. Only a call under another key is considered afresh.

`repeat` is True as soon as the same key *may* have been sent before, in whichever term. When in doubt: True.

`guard` is called synchronously right before the request is handed over, after all waiting; it raises to
prevent the call (the leader's trust has ended). What it raises reaches the caller unchanged:
nothing was sent.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.idempotency import IdempotencyKey
from middleman.domain.ids import PaymentIntentId, PaymentMethodId, ProcessorCustomerId
from middleman.domain.intents import IntentSnapshot
from middleman.domain.money import Money

Guard = Callable[[], None]

RATE_LIMITED = "rate_limited"
"""The `reason` of a `NotSent` or an `Unknown` that was a 429 for the endpoint: slow it down."""

ACCOUNT_RATE_LIMITED = "account_rate_limited"
"""The `reason` of a `NotSent` or an `Unknown` that was a 429 for the whole account: slow everything down."""

OBJECT_BUSY = "object_busy"
"""The `reason` of a `NotSent` or an `Unknown` that was a 429 for one object, which another request holds:
only this call has to wait."""

PAUSED = "paused"
"""The `reason` of a `NotSent` that we gave ourselves: the breaker is open (`middleman.billing.breaker`)."""

NOT_SENDABLE = "not_sendable"
"""The `reason` of a `NotSent` whose amount has no form at the processor: its currency is not taken there any more, say."""

NO_CONNECTION = "no_connection"
NO_FREE_CONNECTION = "no_free_connection"
CONNECTION_LOST = "connection_lost"
TIMEOUT = "timeout"

NOTHING_CAME_BACK = frozenset({NO_CONNECTION, NO_FREE_CONNECTION, CONNECTION_LOST, TIMEOUT})
"""Each `reason` of a `NotSent` or an `Unknown` that the network gave, and not the processor."""

AMOUNT_DIFFERS = "amount_differs"
"""The `reason` of an `Unknown` where the payment intent asks for another amount than it was created for."""

KEY_REUSED = "idempotency_error"
"""The `reason` of an `Unknown` that says: this key was used before, with other parameters."""

REMEMBERED_FAILURE = "server_error_replayed"
"""The `reason` of an `Unknown` that the key will go on giving: the processor stored a 500 as its answer."""


@dataclass(frozen=True, slots=True)
class CreateIntent:
    """Create a payment intent, unconfirmed and without payment method: it moves no money."""

    idempotency_key: IdempotencyKey
    amount: Money
    customer_id: ProcessorCustomerId
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ConfirmIntent:
    """Confirm exactly this payment intent, off session, with this payment method.

    `amount` is what the intent has to ask for; an answer about another amount is `Unknown(AMOUNT_DIFFERS)`.
    """

    idempotency_key: IdempotencyKey
    intent_id: PaymentIntentId
    payment_method: PaymentMethodId
    amount: Money | None = None


@dataclass(frozen=True, slots=True)
class ListIntents:
    """One page of payment intents, newest first. The window is in Unix seconds, both ends included."""

    customer_id: ProcessorCustomerId | None = None
    created_from_s: int | None = None
    created_to_s: int | None = None
    after: PaymentIntentId | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CreateCustomer:
    idempotency_key: IdempotencyKey
    email: str | None = None
    name: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AttachPaymentMethod:
    """Save a payment method (or one of the processor's test tokens) with a customer, for off-session use."""

    idempotency_key: IdempotencyKey
    customer_id: ProcessorCustomerId
    payment_method: PaymentMethodId


@dataclass(frozen=True, slots=True)
class Created:
    intent_id: PaymentIntentId


@dataclass(frozen=True, slots=True)
class CustomerCreated:
    customer_id: ProcessorCustomerId


@dataclass(frozen=True, slots=True)
class Attached:
    """`payment_method` is the concrete one: attaching a test token creates a new one."""

    payment_method: PaymentMethodId
    brand: str | None = None
    last4: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a payment method is; None where it is attached to no customer."""

    customer_id: ProcessorCustomerId | None


@dataclass(frozen=True, slots=True)
class IntentPage:
    """`has_more`: go on with `after` = the last intent's id."""

    intents: Sequence[IntentSnapshot]
    has_more: bool


@dataclass(frozen=True, slots=True)
class Missing:
    """The processor knows nothing by that id."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A definite no that concerns the payer. See the table above.

    `code` is Stripe's error code (its error type where there is none); `param` the offending parameter.
    """

    code: str
    message: str
    param: str | None = None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class OperatorFault:
    """A no that concerns the operator's account, key, request or network, and no payer. See the table above.

    `code` is one of few words (a metric's label): Stripe's error code, its error type where there is none, or
    `http_<status>` where the answer is not Stripe's. `message` is for the log.
    """

    code: str
    message: str
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not executed. `reason` is one of few words (a metric's label), `detail` is for the log."""

    reason: str
    retry_after_s: float | None = None
    detail: str = ""


class PaymentProcessor(Protocol):
    async def create_intent(
        self, request: CreateIntent, *, repeat: bool = False, guard: Guard | None = None
    ) -> Created | Refused | OperatorFault | Unknown | NotSent: ...

    async def confirm_intent(
        self, request: ConfirmIntent, *, repeat: bool = False, guard: Guard | None = None
    ) -> Succeeded | Declined | RequiresAction | Refused | OperatorFault | Unknown | NotSent: ...

    async def read_intent(
        self, intent_id: PaymentIntentId, *, guard: Guard | None = None
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent: ...

    async def cancel_intent(
        self, intent_id: PaymentIntentId, *, guard: Guard | None = None
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
        """Cancel, and answer how the intent stands now: look at its status, it may have succeeded before."""
        ...

    async def list_intents(self, request: ListIntents) -> IntentPage | OperatorFault | Unknown | NotSent: ...

    async def create_customer(
        self, request: CreateCustomer, *, repeat: bool = False
    ) -> CustomerCreated | Refused | OperatorFault | Unknown | NotSent: ...

    async def attach_payment_method(
        self, request: AttachPaymentMethod, *, repeat: bool = False
    ) -> Attached | Declined | Refused | OperatorFault | Unknown | NotSent: ...

    async def holder_of(
        self, payment_method: PaymentMethodId
    ) -> Holder | Missing | OperatorFault | Unknown | NotSent:
        """The customer that a payment method is attached to."""
        ...

    async def warm(self, connections: int) -> None:
        """Open that many connections (at most the pool's size): the first charge then needs no handshake."""
        ...

    async def close(self) -> None:
        """Close all connections. Calls in flight end as `Unknown` or `NotSent`."""
        ...
