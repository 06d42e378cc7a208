"""Which columns make which value, in one place for reading and writing."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Row, case, func

from middleman.adapters.postgres.schema import (
    customers,
    events,
    invoices,
    payment_attempts,
    plans,
    subscriptions,
    terms,
)
from middleman.ports.accounts import Customer, Plan, Subscription
from middleman.ports.records import EventRecord, Invoice, PaymentAttempt, TermRecord

ValueT = TypeVar("ValueT")

# The leader records `canceled` a moment after the end has passed; to the caller it is canceled on time.
SUBSCRIPTION_STATUS: ColumnElement[str] = case(
    (subscriptions.c.ends_at <= func.business_now(), "canceled"), else_=subscriptions.c.status
).label("status")


def _fields(value: type[Any]) -> list[str]:
    return list(value.__dataclass_fields__)


CUSTOMER = [customers.c[name] for name in _fields(Customer)]
PLAN = [plans.c[name] for name in _fields(Plan)]
SUBSCRIPTION = [
    SUBSCRIPTION_STATUS if name == "status" else subscriptions.c[name] for name in _fields(Subscription)
]
INVOICE = [invoices.c[name] for name in _fields(Invoice)]
PAYMENT_ATTEMPT = [payment_attempts.c[name] for name in _fields(PaymentAttempt)]
TERM = [terms.c[name] for name in _fields(TermRecord)]
EVENT = [events.c[name] for name in _fields(EventRecord)]


def as_value(kind: type[ValueT], row: Row[Any]) -> ValueT:
    """A row whose columns are the fields of `kind`, in their order."""
    make: Callable[..., ValueT] = kind
    return make(*row)
