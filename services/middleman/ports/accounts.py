"""Who is billed: customers, plans and subscriptions, as the use cases see them.

Contract of every method here: it raises `middleman.ports.store.StoreUnavailable` when the database gave
no answer in time. Times are aware UTC datetimes unless named `…_local`.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from middleman.domain.ids import CustomerId, PaymentMethodId, PlanId, ProcessorCustomerId, SubscriptionId
from middleman.domain.money import Money
from middleman.ports.once import TicketWork

IntervalUnit = Literal["day", "week", "month", "year"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Customer:
    id: CustomerId
    email: str
    name: str | None
    processor_customer_id: ProcessorCustomerId
    payment_method_id: PaymentMethodId
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewCustomer:
    id: CustomerId
    email: str
    name: str | None
    processor_customer_id: ProcessorCustomerId
    payment_method_id: PaymentMethodId
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    id: PlanId
    name: str
    amount_minor: int
    currency: str
    interval_unit: IntervalUnit
    interval_count: int
    active: bool
    metadata: Mapping[str, str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewPlan:
    id: PlanId
    name: str
    price: Money
    interval_unit: IntervalUnit
    interval_count: int
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Subscription:
    """`status` is `canceled` as soon as business time has reached `ends_at`, even before the leader records it."""

    id: SubscriptionId
    customer_id: CustomerId
    plan_id: PlanId
    status: Literal["active", "past_due", "canceled"]
    amount_minor: int
    currency: str
    interval_unit: IntervalUnit
    interval_count: int
    anchor_local: datetime
    time_zone: str
    next_period_no: int
    next_due_at: datetime
    ends_at: datetime | None
    metadata: Mapping[str, str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewSubscription:
    """`anchor`: an aware instant, a naive wall-clock time in `time_zone`, or None for business time now."""

    id: SubscriptionId
    customer_id: CustomerId
    plan_id: PlanId
    anchor: datetime | None
    time_zone: str
    metadata: Mapping[str, str]


class NoSuchRecord(Exception):
    """Nothing is known by that id."""

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"no {kind} {record_id!r}")
        self.kind = kind
        self.record_id = record_id


class AlreadyMade(Exception):
    """The Idempotency-Key made this before, and its answer is forgotten: nothing is made a second time."""

    def __init__(self, kind: str, record_id: str) -> None:
        super().__init__(f"this Idempotency-Key made {kind} {record_id}, and its answer is no longer kept")
        self.kind = kind
        self.record_id = record_id


class UnknownReference(Exception):
    """A field of the request names something that does not exist."""

    def __init__(self, field: str, record_id: str, explained: str = "") -> None:
        super().__init__(explained or f"{field}: nothing is known by {record_id!r}")
        self.field = field


class PlanArchived(Exception):
    """The plan takes no new subscriptions: choose an active one."""


class AnchorRefused(Exception):
    """The anchor lies outside the window in which a subscription may begin; the message states the window."""


class TestClockRefused(Exception):
    """The test clock does not exist here, or cannot be set like that; the message says why."""


class AccountsTransaction(TicketWork, Protocol):
    """The writing statements of the REST API, inside one transaction. They may be run again from the start."""

    async def require_no_customer(self, customer_id: CustomerId) -> None:
        """Raises AlreadyMade."""
        ...

    async def add_customer(self, customer: NewCustomer) -> Customer:
        """Raises AlreadyMade."""
        ...

    async def set_payment_method(self, customer_id: CustomerId, method: PaymentMethodId) -> Customer:
        """Store it, and file for the leader that it was replaced. Raises NoSuchRecord."""
        ...

    async def add_plan(self, plan: NewPlan) -> Plan:
        """Raises AlreadyMade."""
        ...

    async def archive_plan(self, plan_id: PlanId) -> Plan:
        """Archiving an archived plan changes nothing. Raises NoSuchRecord."""
        ...

    async def add_subscription(self, subscription: NewSubscription) -> Subscription:
        """Raises AlreadyMade, UnknownReference, PlanArchived, AnchorRefused."""
        ...

    async def end_subscription(
        self, subscription_id: SubscriptionId, at: Literal["now", "period_end"]
    ) -> Subscription:
        """Set `ends_at`, unless it ends earlier already. Raises NoSuchRecord, and UnknownReference where the end of the
        period cannot be computed."""
        ...

    async def set_test_clock(self, advance_s: float, rate: float | None) -> "ClockReading":
        """Raises TestClockRefused."""
        ...

    async def forget_tickets(self, older_than_s: float, limit: int) -> int:
        """Delete up to `limit` tickets; returns how many."""
        ...

    async def forget_notices(self, older_than_s: float, limit: int) -> int:
        """Delete up to `limit` notices that were handled so long ago; returns how many."""
        ...


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Business time, and how many virtual seconds pass per real second."""

    environment: Literal["production", "test"]
    business_now: datetime
    rate: float


class Accounts(Protocol):
    """Transactions on who is billed."""

    async def transact(self, work: Callable[[AccountsTransaction], Awaitable[T]]) -> T:
        """Run `work` in one transaction and commit durably before returning; roll back when it raises.

        `work` may run twice: when the connection turns out to be dead before anything could commit.
        """
        ...
