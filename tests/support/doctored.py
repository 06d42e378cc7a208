"""A small clean world for the judge, in two sides, and the means to falsify either."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from chaos.judge.books import (
    Booking,
    Books,
    Fence,
    Invoice,
    Subscription,
    Term,
    UnpaidAttempt,
    WriteRun,
)
from chaos.judge.calendar import boundary
from chaos.judge.ledger import Charge, Intent, KeyUse, Ledger

NOW = datetime(2026, 4, 15, 12, tzinfo=UTC)
LEDGER_READ_BEGAN = datetime(2026, 11, 23, 12, tzinfo=UTC)
SETTLED_AT = LEDGER_READ_BEGAN - timedelta(seconds=5)
CREATED_AT = SETTLED_AT - timedelta(seconds=10)
CREATE = "/v1/payment_intents"


def subscription(number: int, **changes: Any) -> Subscription:
    """Monthly since 31 January: three periods fell due by `NOW`."""
    clean = Subscription(
        id=f"sub_{number}",
        amount_minor=1299,
        currency="EUR",
        interval_unit="month",
        interval_count=1,
        anchor_local=datetime(2026, 1, 31, 9),  # noqa: DTZ001  # a wall clock
        time_zone="Europe/Berlin",
        next_period_no=3,
        ends_at=None,
        created_at=CREATED_AT,
    )
    return replace(clean, **changes)


def invoice(of: Subscription, period_no: int, **changes: Any) -> Invoice:
    """Paid in term 1."""
    clean = Invoice(
        id=f"in_{of.id[4:]}_{period_no}",
        subscription_id=of.id,
        period_no=period_no,
        period_start=boundary(of, period_no),
        period_end=boundary(of, period_no + 1),
        amount_minor=1299,
        currency="EUR",
        processor_customer_id=f"cus_{of.id}",
        status="paid",
        payment_intent_id=f"pi_{of.id}_{period_no}",
        next_attempt_at=None,
        settled_at=SETTLED_AT,
        created_term=1,
        bound_term=1,
        settled_term=1,
        attempt_open=False,
        charge_id=f"ch_{of.id}_{period_no}",
        first_outcome_at=SETTLED_AT,
        last_attempt="succeeded",
        card_replaced=False,
    )
    return replace(clean, **changes)


def unpaid_attempt(of: Invoice, **changes: Any) -> UnpaidAttempt:
    """The first and last try of an invoice, declined by a charge that failed."""
    clean = UnpaidAttempt(
        id=f"at_{of.id[3:]}_1",
        invoice_id=of.id,
        status="declined",
        charge_id=f"ch_no_{of.id}",
        code="card_declined",
        settled_at=SETTLED_AT,
        is_last=True,
    )
    return replace(clean, **changes)


def booking(of: Invoice, **changes: Any) -> Booking:
    """Both entries of a paid invoice."""
    clean = Booking(
        attempt_id=f"at_{of.id[3:]}_1",
        invoice_id=of.id,
        currency=of.currency,
        received_minor=of.amount_minor,
        balance_minor=0,
        recorded_at=of.settled_at or SETTLED_AT,
    )
    return replace(clean, **changes)


def intent(of: Invoice, **changes: Any) -> Intent:
    """What the processor made of a paid invoice."""
    charge = Charge(of.charge_id or "", "succeeded", of.amount_minor, 0, of.currency)
    clean = Intent(
        id=of.payment_intent_id or "",
        status="succeeded",
        amount=of.amount_minor,
        amount_received=of.amount_minor,
        currency=of.currency,
        customer=of.processor_customer_id,
        metadata={"subscription_id": of.subscription_id, "period_no": str(of.period_no)},
        charges=(charge,),
    )
    return replace(clean, **changes)


def declined_intent(of: Invoice, **changes: Any) -> Intent:
    """What the processor made of an invoice whose one try it declined."""
    charge = Charge(f"ch_no_{of.id}", "failed", of.amount_minor, 0, of.currency)
    unpaid: dict[str, Any] = {
        "status": "requires_payment_method",
        "amount_received": 0,
        "charges": (charge,),
    }
    return intent(of, **(unpaid | changes))


def key(of: Invoice, **changes: Any) -> KeyUse:
    """The key that created its intent."""
    clean = KeyUse(f"middleman-create-{of.id}", "POST", CREATE, f"sha-{of.id}", executions=1, mismatches=0)
    return replace(clean, **changes)


SUBSCRIPTIONS = (subscription(1), subscription(2))
INVOICES = tuple(invoice(each, period_no) for each in SUBSCRIPTIONS for period_no in range(3))
LEADER = Term(0, 1, "uid-1", "replica-1", SETTLED_AT)
SUCCESSOR = Term(0, 2, "uid-2", "replica-2", SETTLED_AT + timedelta(seconds=1))
WRITES = (
    WriteRun(1, 18, SETTLED_AT, "invoice.opened", "in_1_0"),
    WriteRun(2, 6, SETTLED_AT, "attempt.settled", "at_2_2_1"),
)


def books(**changes: Any) -> Books:
    """Two subscriptions, three paid periods each, two terms; what is paid is booked, unless `bookings` say else."""
    paid = [each for each in changes.get("invoices", INVOICES) if each.status == "paid"]
    clean = Books(
        business_now=NOW,
        clock_rate=0,
        taken_at=LEDGER_READ_BEGAN + timedelta(seconds=1),
        ledger_read_began=LEDGER_READ_BEGAN,
        subscriptions={each.id: each for each in SUBSCRIPTIONS},
        invoices=INVOICES,
        unpaid_attempts=(),
        bookings=tuple(map(booking, paid)),
        terms=(LEADER, SUCCESSOR),
        fences=(Fence(0, 2, "uid-2"),),
        write_runs=WRITES,
    )
    return replace(clean, **changes)


def books_with(changed: Invoice, *unpaid: UnpaidAttempt) -> Books:
    """The clean books with one invoice, known by its id, replaced or added; `unpaid` are its tries without money."""
    others = tuple(each for each in INVOICES if each.id != changed.id)
    return books(invoices=(*others, changed), unpaid_attempts=unpaid)


def ledger(*more: Intent, without: str = "", keys: tuple[KeyUse, ...] = ()) -> Ledger:
    """The clean ledger; `more` replace the intents of the same id, or come on top of them."""
    intents = {each.id: each for each in (*map(intent, INVOICES), *more) if each.id != without}
    return Ledger(intents, (*map(key, INVOICES), *keys))
