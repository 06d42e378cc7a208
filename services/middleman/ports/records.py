"""What the REST API shows: read-only, one statement per page, whatever its size."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeVar

from middleman.domain.ids import CustomerId, InvoiceId, PlanId, SubscriptionId
from middleman.ports.accounts import ClockReading, Customer, Plan, Subscription

ItemT = TypeVar("ItemT", covariant=True)
ReplicaRole = Literal["candidate", "leader", "follower", "stood_down"]


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    """`has_more`: there are further items after the last of these."""

    items: Sequence[ItemT]
    has_more: bool


@dataclass(frozen=True, slots=True)
class CreatedPosition:
    """Where a page ended, in an order by creation."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class Invoice:
    id: str
    subscription_id: str
    customer_id: str
    period_no: int
    period_start: datetime
    period_end: datetime
    amount_minor: int
    currency: str
    status: Literal["open", "paid", "requires_action", "uncollectible", "void"]
    payment_intent_id: str | None
    attempt_count: int
    next_attempt_at: datetime | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class PaymentAttempt:
    """`unknown_reason`: why its outcome was unknown for a while, or still is while `status` is open."""

    id: str
    invoice_id: str
    attempt_no: int
    status: Literal["open", "succeeded", "declined", "requires_action", "canceled"]
    amount_minor: int
    currency: str
    payment_method_id: str
    charge_id: str | None
    code: str | None
    decline_code: str | None
    advice_code: str | None
    message: str | None
    unknown_reason: str | None
    unknown_at: datetime | None
    created_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class TermRecord:
    number: int
    holder: str
    election_revision: int
    timeline: int
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None


@dataclass(frozen=True, slots=True)
class ReplicaRecord:
    """`stale`: it has not reported for so long that its role is old news."""

    name: str
    role: ReplicaRole
    ops_url: str
    started_at: datetime
    last_seen_at: datetime
    stale: bool


@dataclass(frozen=True, slots=True)
class Leadership:
    """The term at the fence, None before the first one, and the replicas that reported within a day.

    Its holder comes first, then those that are not stale, who was seen last first; at most a hundred.
    """

    scope: int
    term: TermRecord | None
    replicas: Sequence[ReplicaRecord]


@dataclass(frozen=True, slots=True)
class EventRecord:
    seq: int
    at: datetime
    kind: str
    term: int | None
    subject: str
    subscription_id: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SubscriptionFilter:
    customer_id: CustomerId | None = None
    plan_id: PlanId | None = None
    status: Literal["active", "past_due", "canceled"] | None = None
    due_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """The window is half-open: `created_from` included, `created_before` not."""

    subscription_id: SubscriptionId | None = None
    customer_id: CustomerId | None = None
    status: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class AttemptFilter:
    invoice_id: InvoiceId | None = None
    status: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None


class Records(Protocol):
    """Single reads raise `NoSuchRecord`; every method raises `StoreUnavailable` when the database is away.

    Lists are newest first. `after` is where the last page ended.
    """

    async def customer(self, record_id: str) -> Customer: ...
    async def customers(self, after: CreatedPosition | None, limit: int) -> Page[Customer]: ...
    async def plan(self, record_id: str) -> Plan: ...
    async def plans(self, after: CreatedPosition | None, limit: int, active: bool | None) -> Page[Plan]: ...
    async def subscription(self, record_id: str) -> Subscription: ...
    async def subscriptions(
        self, after: CreatedPosition | None, limit: int, where: SubscriptionFilter
    ) -> Page[Subscription]: ...
    async def invoice(self, record_id: str) -> tuple[Invoice, Sequence[PaymentAttempt]]:
        """The invoice with all its payment attempts, first to last."""
        ...

    async def invoices(
        self, after: CreatedPosition | None, limit: int, where: InvoiceFilter
    ) -> Page[Invoice]: ...
    async def payment_attempt(self, record_id: str) -> PaymentAttempt: ...
    async def payment_attempts(
        self, after: CreatedPosition | None, limit: int, where: AttemptFilter
    ) -> Page[PaymentAttempt]: ...
    async def leadership(self, scope: int) -> Leadership: ...
    async def terms(self, scope: int, after: int | None, limit: int) -> Page[TermRecord]: ...
    async def events(
        self, after_seq: int | None, limit: int, *, newest_first: bool, kind: str | None, subject: str | None
    ) -> Page[EventRecord]:
        """Events by seq. Oldest first, an event never appears behind one that was already shown."""
        ...

    async def test_clock(self) -> ClockReading: ...

    async def ready(self) -> str | None:
        """None when the database answers and its schema is new enough, else what is wrong."""
        ...

    def sessions_in_use(self) -> int:
        """How many database sessions are at work right now."""
        ...
