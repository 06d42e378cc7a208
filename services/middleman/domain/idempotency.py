"""Idempotency keys for the processor.

A key is a fixed verb and the id of what it is about: no term, no replica, no time. A repeat, in whichever term,
therefore carries the same key. A second key of the same request has a number that the database keeps.

The processor accepts at most 255 characters, and its SDK silently replaces an empty key by a random one
(https://docs.stripe.com/api/idempotent_requests); both are refused here, before anything is sent.
"""

from typing import NewType

from middleman.domain.ids import AttemptId, CustomerId, InvoiceId

IdempotencyKey = NewType("IdempotencyKey", str)

MAX_KEY_LENGTH = 255


def create_key(invoice_id: InvoiceId, key_no: int = 1) -> IdempotencyKey:
    """The key under which the one payment intent of an invoice is created; see `confirm_key` for `key_no`."""
    return _key("create", invoice_id, key_no)


def confirm_key(attempt_id: AttemptId, key_no: int = 1) -> IdempotencyKey:
    """The key under which one payment attempt confirms its payment intent.

    `key_no` counts from 1. It is raised, in the database and before it is used, where the processor stored a failure
    under the key before and shows that nothing was executed.
    """
    return _key("confirm", attempt_id, key_no)


def customer_key(customer_id: CustomerId, key_no: int = 1) -> IdempotencyKey:
    """The key under which our customer is created at the processor; `key_no` is raised as in `confirm_key`.

    Here nothing has to be shown first: a customer that is made twice at the processor moves no money.
    """
    return _key("customer", customer_id, key_no)


def attach_key(customer_id: CustomerId, request_id: str, key_no: int = 1) -> IdempotencyKey:
    """The key under which one request of a customer's (`request_id`) attaches a payment method; see `customer_key`."""
    if not request_id:
        raise ValueError(f"attaching a payment method to {customer_id!r} needs the id of the request")
    return _key("attach", f"{customer_id}-{request_id}", key_no)


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


def _key(verb: str, name: str, key_no: int = 1) -> IdempotencyKey:
    if not name:
        raise ValueError(f"a {verb} key needs the id that it is about, got an empty one")
    if key_no < 1:
        raise ValueError(f"keys of {name!r} are counted from 1, got {key_no}")
    return checked_key(f"middleman-{verb}-{name}" + (f"-{key_no}" if key_no > 1 else ""))
