"""The store: the database as the charge pipeline sees it.

Contract: everything that writes money happens inside `Store.fenced`, at exactly the term that is given.
The transaction holds the fence until it commits, so it either commits while its term is the newest, or
raises `StaleTerm`. When `StoreUnavailable` is raised, the transaction may or may not have committed:
every statement is therefore safe to repeat.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from middleman.domain.attempts import DefiniteOutcome, Settlement
from middleman.domain.ids import (
    AttemptId,
    ChargeId,
    InvoiceId,
    NoticeId,
    PaymentIntentId,
    PaymentMethodId,
    ProcessorCustomerId,
    SubscriptionId,
)
from middleman.domain.money import Money
from middleman.ports.clock import ClockReading
from middleman.ports.term import Term

OPEN = "open"
"""The status of an attempt that is not settled."""


class StoreUnavailable(Exception):
    """The database gave no answer, so nothing is known about the transaction: back off and repeat it."""


class StoreRefused(Exception):
    """The database cannot compute or may not keep something of what was asked, and will not next time either."""


@dataclass(frozen=True, slots=True)
class OpenAttempt:
    """A payment attempt that is not settled, with its frozen request.

    `payment_intent_id` is None until an intent is bound to the invoice. `settled_charge_ids` are the
    charges that earlier attempts of the invoice left (None for one that left no charge). `create_key_no` and
    `confirm_key_no` are the numbers of the idempotency keys in use; `parked_count` is how often it was parked.
    """

    attempt_id: AttemptId
    attempt_no: int
    invoice_id: InvoiceId
    subscription_id: SubscriptionId
    period_no: int
    amount: Money
    processor_customer_id: ProcessorCustomerId
    payment_method_id: PaymentMethodId
    payment_intent_id: PaymentIntentId | None
    settled_charge_ids: tuple[ChargeId | None, ...]
    create_key_no: int = 1
    confirm_key_no: int = 1
    parked_count: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one claim opened. `lag_s` is how late its oldest period is, in business time; 0 when empty.

    `held` subscriptions have more periods
    overdue than may be caught up unasked, and got no attempt.
    """

    attempts: tuple[OpenAttempt, ...]
    lag_s: float
    held: tuple[SubscriptionId, ...] = ()


@dataclass(frozen=True, slots=True)
class SetAside:
    """A subscription whose next period the database refuses, and why."""

    subscription_id: SubscriptionId
    reason: str


@dataclass(frozen=True, slots=True)
class Binding:
    """The payment intent that was created for an invoice."""

    invoice_id: InvoiceId
    payment_intent_id: PaymentIntentId


@dataclass(frozen=True, slots=True)
class UnknownAttempt:
    """An attempt whose outcome is unknown, and why."""

    attempt_id: AttemptId
    reason: str


@dataclass(frozen=True, slots=True)
class ParkedAttempt:
    """An attempt that waits in the database for its next try, in `parked_s` seconds; parked for the `times`-th time."""

    attempt_id: AttemptId
    reason: str
    times: int
    parked_s: float


@dataclass(frozen=True, slots=True)
class ParkedNotice:
    """A notice whose payment intent could not be read, as `ParkedAttempt`."""

    notice_id: NoticeId
    times: int
    parked_s: float


@dataclass(frozen=True, slots=True)
class NextKeys:
    """The numbers of the idempotency keys that an open attempt uses from now on."""

    attempt_id: AttemptId
    invoice_id: InvoiceId
    create_key_no: int
    confirm_key_no: int


@dataclass(frozen=True, slots=True)
class SettledAttempt:
    """The outcome of an attempt, and what follows from it."""

    attempt_id: AttemptId
    outcome: DefiniteOutcome
    settlement: Settlement

    def retried_at_once(self) -> "SettledAttempt":
        """The same where the customer pays with another payment method by now."""
        return replace(self, settlement=self.settlement.retried_at_once())


@dataclass(frozen=True, slots=True)
class Standing:
    """How an attempt stands in the database. `payment_intent_id` is the one that its invoice is bound to."""

    status: str
    charge_id: ChargeId | None
    payment_intent_id: PaymentIntentId | None

    @property
    def is_open(self) -> bool:
        return self.status == OPEN


@dataclass(frozen=True, slots=True)
class PendingNotice:
    """The processor said something of a payment intent that is not settled as paid here, and nobody has looked yet."""

    notice_id: NoticeId
    payment_intent_id: PaymentIntentId
    parked_count: int = 0


class Finding(StrEnum):
    """What a look at a payment intent showed."""

    SUCCEEDED = "succeeded"
    CANCELED = "canceled"
    NEITHER = "neither"
    """It can still be confirmed, or is not there: nothing that an attempt could settle."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was found where a notice pointed to."""

    notice_id: NoticeId
    finding: Finding


class FencedTransaction(Protocol):
    """The statements of the pipeline, inside one transaction that holds the fence."""

    @property
    def clock(self) -> ClockReading:
        """The database's real clock as the transaction began; the test clock does not shift it."""
        ...

    async def end_subscriptions(self, limit: int) -> int:
        """Cancel up to `limit` subscriptions that have nothing left to bill; returns how many."""
        ...

    async def claim_due(self, limit: int, max_overdue: int, not_before: datetime | None = None) -> Claim:
        """Open invoice and first attempt for up to `limit` due periods, oldest first, and advance their subscriptions.

        A subscription that owes an earlier period, is withheld, or has a period that began before `not_before`, is left
        as it is. One with more than `max_overdue` periods overdue is held.

        Raises:
            StoreRefused: one of them cannot be billed; nothing was claimed.
        """
        ...

    async def oldest_due(self) -> datetime | None:
        """When the oldest period began that is due, whether it can be claimed now or waits behind an earlier one."""
        ...

    async def claim_period_of(self, subscription_id: SubscriptionId, max_overdue: int) -> Claim:
        """As `claim_due`, for this subscription alone: one attempt, or none where nothing can be claimed."""
        ...

    async def due_subscriptions(self, limit: int) -> Sequence[SubscriptionId]:
        """Up to `limit` subscriptions that the next claim would take, oldest first."""
        ...

    async def set_aside_due(self, limit: int) -> Sequence[SetAside]:
        """Of the `limit` subscriptions that the next claim would take, set aside those that it is refused for.

        The mark and its reason stand in the row. `retry_set_aside` tries them again a day later.
        """
        ...

    async def set_aside(self, subscription_id: SubscriptionId, reason: str) -> None:
        """Set this subscription aside, for a refusal that `set_aside_due` does not foresee."""
        ...

    async def retry_set_aside(self, limit: int) -> None:
        """Look at up to `limit` subscriptions whose day is over: what can be billed is due again."""
        ...

    async def due_retries(self, limit: int) -> Sequence[InvoiceId]:
        """Up to `limit` invoices that the next claim of retries would take, oldest first."""
        ...

    async def claim_retry_of(self, invoice_id: InvoiceId) -> Claim:
        """As `claim_retries`, for this invoice alone."""
        ...

    async def set_aside_retry(self, invoice_id: InvoiceId, reason: str) -> None:
        """Put off the next attempt of this invoice for a day; the reason stands in the row."""
        ...

    async def claim_retries(self, limit: int) -> Claim:
        """Open the next attempt of up to `limit` invoices whose retry has fallen due.

        Before that, what waits of up to `limit` customers with a new payment method is planned for now: invoices in
        dunning and those that wait for the customer, unless their last attempt used that payment method.
        """
        ...

    async def pending_notices(self, limit: int) -> Sequence[PendingNotice]:
        """Up to `limit` notices to look into, oldest first, and mark handled those whose invoice is paid meanwhile.

        A notice about an invoice that is at work is left for later: its attempt may settle what the notice tells.
        """
        ...

    async def heed(self, looks: Sequence[Look]) -> Mapping[NoticeId, OpenAttempt]:
        """Mark notices handled, and where an intent has succeeded or was canceled open the attempt that settles it.

        The attempt must read before it confirms. An invoice that is at work keeps its notice; one that is settled
        like that already gets no attempt.
        """
        ...

    async def open_attempts(self, after: AttemptId | None, limit: int) -> Sequence[OpenAttempt]:
        """Up to `limit` open attempts that are not parked, oldest first, that come after the one given."""
        ...

    async def parked_attempts(self, limit: int, carried: Collection[AttemptId]) -> Sequence[OpenAttempt]:
        """Up to `limit` parked attempts that are due for a try, the longest due first, without those `carried`."""
        ...

    async def parked_notices(self, limit: int, carried: Collection[NoticeId]) -> Sequence[PendingNotice]:
        """Up to `limit` parked notices that are due for a try, the longest due first, without those `carried`."""
        ...

    async def park_attempts(self, parked: Sequence[ParkedAttempt]) -> None:
        """Keep on open attempts when they are due for their next try. They stay open."""
        ...

    async def park_notices(self, parked: Sequence[ParkedNotice]) -> None:
        """Keep on notices when they are due for their next try."""
        ...

    async def use_next_keys(self, keys: Sequence[NextKeys]) -> None:
        """Record the keys that requests will use, before they are used. A number never goes back."""
        ...

    async def bind(self, bindings: Sequence[Binding]) -> Mapping[InvoiceId, PaymentIntentId]:
        """Record each intent on its invoice where none is recorded yet; returns what is recorded now."""
        ...

    async def mark_unknown(self, attempts: Sequence[UnknownAttempt]) -> None:
        """Note on open attempts that their outcome is unknown. They stay open."""
        ...

    async def settle(self, settled: Sequence[SettledAttempt]) -> int:
        """Record outcomes of attempts that are still open; returns how many were.

        A no to a payment method that the customer has replaced meanwhile ends nothing: the retry is planned for now.
        """
        ...

    async def standings(self, attempts: Collection[AttemptId]) -> Mapping[AttemptId, Standing]:
        """How these attempts stand now. One that is not in the database is not in the answer."""
        ...


class Store(Protocol):
    """Fenced transactions on the database."""

    def fenced(self, term: Term) -> AbstractAsyncContextManager[FencedTransaction]:
        """A transaction at exactly `term`; commits on exit, rolls back on an exception.

        Raises:
            StaleTerm: the fence has moved past `term`.
            StoreUnavailable: the database gave no answer.
            StoreRefused: it refused the values, and nothing was done.
        """
        ...
