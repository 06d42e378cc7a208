"""The names of things, as distinct types, and how the name of a debt is derived.

An invoice is named after its subscription and billing period, a payment attempt after its invoice.
The same debt thus has the same name for ever: a database that lost its last commits derives the same
ids again, and with them the same idempotency keys. SQL derives the same strings by concatenation.

The derivation can be undone (everything before the last ``_`` is the parent), so two different debts
never share a name.

What a request makes is named after the request: the API key and the Idempotency-Key (DESIGN §2.9).
"""

import hashlib
from typing import NewType

CustomerId = NewType("CustomerId", str)
PlanId = NewType("PlanId", str)
SubscriptionId = NewType("SubscriptionId", str)
InvoiceId = NewType("InvoiceId", str)
AttemptId = NewType("AttemptId", str)

# Names that the processor gives.
ProcessorCustomerId = NewType("ProcessorCustomerId", str)
PaymentMethodId = NewType("PaymentMethodId", str)
PaymentIntentId = NewType("PaymentIntentId", str)
ChargeId = NewType("ChargeId", str)
NoticeId = NewType("NoticeId", str)

SUBSCRIPTION_PREFIX = "sub_"
INVOICE_PREFIX = "in_"
ATTEMPT_PREFIX = "at_"


def invoice_id(subscription_id: SubscriptionId, period_no: int) -> InvoiceId:
    """``in_<subscription>_<period_no>``; `period_no` counts from 0. Raises ValueError on a malformed part."""
    if period_no < 0:
        raise ValueError(f"period_no counts from 0, got {period_no} for {subscription_id!r}")
    stem = _without_prefix(subscription_id, SUBSCRIPTION_PREFIX, "subscription id")
    return InvoiceId(f"{INVOICE_PREFIX}{stem}_{period_no}")


def attempt_id(invoice: InvoiceId, attempt_no: int) -> AttemptId:
    """``at_<invoice>_<attempt_no>``; `attempt_no` counts from 1. Raises ValueError on a malformed part."""
    if attempt_no < 1:
        raise ValueError(f"attempt_no counts from 1, got {attempt_no} for {invoice!r}")
    return AttemptId(f"{ATTEMPT_PREFIX}{_without_prefix(invoice, INVOICE_PREFIX, 'invoice id')}_{attempt_no}")


_BASE32 = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, in lower case
_STEM_LENGTH = 26


def stem(number: int) -> str:
    """A number of 128 bits as 26 characters of Crockford's base 32, in the form of a ULID."""
    if not 0 <= number < 1 << 128:
        raise ValueError(f"a stem holds 128 bits, got {number}")
    return "".join(_BASE32[number >> shift & 31] for shift in range(5 * (_STEM_LENGTH - 1), -1, -5))


def id_of_request(prefix: str, api_key_id: str, idempotency_key: str) -> str:
    """The id of what one request makes: the same for every repeat of it, also where nothing of it was kept.

    The first 128 bits of a SHA-256. The parts cannot run into one another, since none holds a NUL. This function is
    part of the stored data: a change of it would make a repeated request into a new one.
    """
    parts = ("middleman.id.1", prefix, api_key_id, idempotency_key)
    if not all(parts) or any("\0" in part for part in parts):
        raise ValueError(f"an id needs a prefix, an API key's id and an Idempotency-Key, got {parts[1:]!r}")
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return prefix + stem(int.from_bytes(digest[:16]))


def _without_prefix(name: str, prefix: str, what: str) -> str:
    stem = name.removeprefix(prefix)
    if stem == name or not stem:
        raise ValueError(f"a {what} reads {prefix}<name>, got {name!r}")
    return stem
