"""What a request is called: its idempotency key."""

from typing import Protocol

from middleman.domain.idempotency import IdempotencyKey, confirm_key, create_key
from middleman.ports.store import OpenAttempt
from middleman.ports.term import Term


class RequestNames(Protocol):
    """Chooses idempotency keys. The term is offered so that a test can show what happens when it is used."""

    def create_key(self, attempt: OpenAttempt, term: Term) -> IdempotencyKey:
        """The key of the request that creates the invoice's payment intent."""
        ...

    def confirm_key(self, attempt: OpenAttempt, term: Term) -> IdempotencyKey:
        """The key of the request that confirms it for this attempt."""
        ...


class StableNames:
    """Create by invoice, confirm by attempt, each with the number of its key (DESIGN §2.4)."""

    def create_key(self, attempt: OpenAttempt, term: Term) -> IdempotencyKey:
        """The same for every replica, every term and every attempt of the invoice."""
        return create_key(attempt.invoice_id, attempt.create_key_no)

    def confirm_key(self, attempt: OpenAttempt, term: Term) -> IdempotencyKey:
        """The same for every replica and every term."""
        return confirm_key(attempt.attempt_id, attempt.confirm_key_no)
