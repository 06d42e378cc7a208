"""Idempotency keys for the processor.

A key is a fixed verb and the id of what it is about, nothing else: no term, no replica, no time. Whoever
repeats a request, in whichever term, therefore sends the same key.

The processor accepts at most 255 characters, and its SDK silently replaces an empty key by a random one
(https://docs.stripe.com/api/idempotent_requests); both are refused here, before anything is sent.
"""

from typing import NewType

from middleman.domain.ids import AttemptId, CustomerId, InvoiceId

IdempotencyKey = NewType("IdempotencyKey", str)

MAX_KEY_LENGTH = 255


def create_key(invoice_id: InvoiceId) -> IdempotencyKey:
    """The key under which the one payment intent of an invoice is created."""
    return _key("create", invoice_id)


def confirm_key(attempt_id: AttemptId) -> IdempotencyKey:
    """The key under which one payment attempt confirms its payment intent."""
    return _key("confirm", attempt_id)


def customer_key(customer_id: CustomerId) -> IdempotencyKey:
    """The key under which our customer is created at the processor."""
    return _key("customer", customer_id)


def attach_key(customer_id: CustomerId, request_id: str) -> IdempotencyKey:
    """The key under which one request of a customer's (`request_id`) attaches a payment method."""
    if not request_id:
        raise ValueError(f"attaching a payment method to {customer_id!r} needs the id of the request")
    return _key("attach", f"{customer_id}-{request_id}")


def checked_key(key: str) -> IdempotencyKey:
    """`key` itself, or ValueError when the processor would refuse or replace it."""
    if not key or key.isspace():
        raise ValueError(
            "an idempotency key must not be empty: the processor's SDK would invent a random one"
        )
    if len(key) > MAX_KEY_LENGTH:
        raise ValueError(
            f"an idempotency key has at most {MAX_KEY_LENGTH} characters, this has {len(key)}: {key[:40]!r}…"
        )
    return IdempotencyKey(key)


def _key(verb: str, name: str) -> IdempotencyKey:
    if not name:
        raise ValueError(f"a {verb} key needs the id that it is about, got an empty one")
    return checked_key(f"middleman-{verb}-{name}")
