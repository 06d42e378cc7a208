"""The documents that go in and out. What goes in is strict: unknown fields and near misses are refused."""

from datetime import datetime
from typing import Any, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from middleman.domain.periods import BillingInterval, IntervalUnit
from middleman.entrypoints.api.fields import (
    AmountMinor,
    Anchor,
    Currency,
    CustomerIdField,
    Email,
    Metadata,
    Name,
    PaymentMethodField,
    PlanIdField,
    TimeZone,
)

ItemT = TypeVar("ItemT")


class Incoming(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Outgoing(BaseModel):
    """A response body, filled from a value of the core."""

    model_config = ConfigDict(extra="forbid", from_attributes=True, strict=True, frozen=True)


class Interval(BaseModel):
    """`count` units: {"unit": "month", "count": 3} is quarterly. Up to 366 days, 156 weeks, 36 months or 3 years."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, json_schema_extra={"examples": [{"unit": "month", "count": 1}]}
    )

    unit: Literal["day", "week", "month", "year"]
    count: int = Field(default=1, strict=True, ge=1, le=366)

    @model_validator(mode="after")
    def _is_an_interval(self) -> Self:
        BillingInterval(IntervalUnit(self.unit), self.count)
        return self


class CustomerIn(Incoming):
    email: Email
    name: Name | None = None
    payment_method: PaymentMethodField
    metadata: Metadata = {}


class PaymentMethodIn(Incoming):
    payment_method: PaymentMethodField


class PlanIn(Incoming):
    name: Name
    amount_minor: AmountMinor
    currency: Currency
    interval: Interval
    metadata: Metadata = {}


class SubscriptionIn(Incoming):
    customer_id: CustomerIdField
    plan_id: PlanIdField
    anchor: Anchor = None
    time_zone: TimeZone = "UTC"
    metadata: Metadata = {}


class CancelIn(Incoming):
    at: Literal["now", "period_end"] = Field(
        description="Every period that fell due before the end is still billed; none after."
    )


class TestClockIn(Incoming):
    __test__ = False  # not a test class, whatever pytest makes of its name

    advance_s: float = Field(default=0, strict=True, ge=0, le=10 * 366 * 86400, allow_inf_nan=False)
    rate: float | None = Field(
        default=None,
        strict=True,
        ge=0,
        le=1_000_000,
        allow_inf_nan=False,
        description="Virtual seconds per real second from here on; left out: as before. 0 freezes the clock.",
    )


class IntervalOut(Outgoing):
    unit: Literal["day", "week", "month", "year"]
    count: int


class CustomerOut(Outgoing):
    id: str
    email: str
    name: str | None
    processor_customer_id: str
    payment_method_id: str
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


class PlanOut(Outgoing):
    id: str
    name: str
    amount_minor: int
    currency: str
    interval: IntervalOut
    active: bool
    metadata: dict[str, str]
    created_at: datetime


class SubscriptionOut(Outgoing):
    """`next_due_at` is null when nothing falls due any more."""

    id: str
    customer_id: str
    plan_id: str
    status: Literal["active", "past_due", "canceled"]
    amount_minor: int
    currency: str
    interval: IntervalOut
    anchor_local: str = Field(description="Wall-clock time in `time_zone` at which period 0 begins.")
    time_zone: str
    next_period_no: int
    next_due_at: datetime | None
    ends_at: datetime | None = Field(description="Periods that begin at or after it are never billed.")
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


class PaymentAttemptOut(Outgoing):
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


class InvoiceOut(Outgoing):
    """What one subscription owes for one billing period, [`period_start`, `period_end`)."""

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


class InvoiceWithAttemptsOut(InvoiceOut):
    payment_attempts: list[PaymentAttemptOut]


class TermOut(Outgoing):
    number: int
    holder: str
    election_revision: int
    timeline: int
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None


class ReplicaOut(Outgoing):
    """`stale`: it has not reported for ten seconds, so its role is old news."""

    name: str
    role: Literal["candidate", "leader", "follower", "stood_down"]
    ops_url: str
    started_at: datetime
    last_seen_at: datetime
    stale: bool


class LeadershipOut(Outgoing):
    """`term` is the one at the fence; when it has an `ended_at`, nobody leads at the moment.

    `replicas` are those that reported within a day: the term's holder first, then those that are not stale. At most a
    hundred.
    """

    scope: int
    term: TermOut | None
    replicas: list[ReplicaOut]


class EventOut(Outgoing):
    """`term` is the term that wrote it, null for the REST API."""

    seq: int
    at: datetime
    kind: str
    term: int | None
    subject: str
    subscription_id: str | None
    data: dict[str, Any]


class TestClockOut(Outgoing):
    __test__ = False  # not a test class, whatever pytest makes of its name

    environment: Literal["test"]
    business_now: datetime
    rate: float


class PageOut(BaseModel, Generic[ItemT]):
    """`next_cursor` fetches the next page; null on the last one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: list[ItemT]
    has_more: bool
    next_cursor: str | None
