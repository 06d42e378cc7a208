"""The books: what Middleman's database says, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chaos.judge.zone_rules import ZoneRules


@dataclass(frozen=True, slots=True)
class Subscription:
    """Its price and schedule, and how far the product believes it has billed it.

    `rules` are the database server's for its zone; None: this machine's are taken.
    """

    id: str
    amount_minor: int
    currency: str
    interval_unit: str
    interval_count: int
    anchor_local: datetime  # naive wall clock in time_zone
    time_zone: str
    next_period_no: int
    ends_at: datetime | None
    created_at: datetime
    rules: "ZoneRules | None" = None


@dataclass(frozen=True, slots=True)
class Invoice:
    """One debt. `charge_id` is what its succeeded attempt recorded; `attempt_open`: a try is under way.

    `first_outcome_at`: the database's real time when its first attempt was settled, whatever the outcome.
    `last_attempt` is the status of the attempt with the highest number, None where there is none at all.
    `card_replaced`: a replacement of its customer's payment method is on record.
    """

    id: str
    subscription_id: str
    period_no: int
    period_start: datetime
    period_end: datetime
    amount_minor: int
    currency: str
    processor_customer_id: str
    status: str
    payment_intent_id: str | None
    next_attempt_at: datetime | None
    settled_at: datetime | None
    created_term: int
    bound_term: int | None
    settled_term: int | None  # of the succeeded attempt
    attempt_open: bool
    charge_id: str | None
    first_outcome_at: datetime | None
    last_attempt: str | None
    card_replaced: bool


@dataclass(frozen=True, slots=True)
class UnpaidAttempt:
    """One try that was settled and took no money: declined, requires_action or canceled.

    `charge_id` names the failed charge, None where the processor made none; `is_last`: no attempt follows it.
    """

    id: str
    invoice_id: str
    status: str
    charge_id: str | None
    code: str | None
    settled_at: datetime
    is_last: bool


@dataclass(frozen=True, slots=True)
class Booking:
    """What the double-entry ledger says of one attempt, in minor units of ISO 4217.

    `received_minor` is what stands on `processor_balance`, `balance_minor` the sum over all accounts.
    """

    attempt_id: str
    invoice_id: str
    currency: str
    received_minor: int
    balance_minor: int
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Term:
    """One continuous leadership."""

    scope: int
    number: int
    uid: str
    holder: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class Fence:
    """The row that every write of money has to match."""

    scope: int
    term: int
    uid: str


@dataclass(frozen=True, slots=True)
class WriteRun:
    """Consecutive fenced writes of one term, in the order in which the database committed them."""

    term: int
    writes: int
    first_committed_at: datetime
    first_kind: str
    first_subject: str


@dataclass(frozen=True, slots=True)
class Books:
    """One snapshot of the database.

    `ledger_read_began` is the database's own clock just before the processor's ledger was read.
    `write_runs` is None when the database does not track commit timestamps; `untracked_writes` counts the
    fenced writes that it no longer (or not yet) has a commit timestamp of. `time_zone_note` says where the time zone
    data of the server and of this machine differ.
    """

    business_now: datetime
    clock_rate: float
    taken_at: datetime
    ledger_read_began: datetime
    subscriptions: Mapping[str, Subscription]
    invoices: tuple[Invoice, ...]
    unpaid_attempts: tuple[UnpaidAttempt, ...]
    bookings: tuple[Booking, ...]
    terms: tuple[Term, ...]
    fences: tuple[Fence, ...]
    write_runs: tuple[WriteRun, ...] | None
    untracked_writes: int = 0
    time_zone_note: str = ""
