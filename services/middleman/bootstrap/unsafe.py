"""Builds that are wrong on purpose, so that the judge can prove that it says no.

Settings refuse them outside the test environment. Each breaks one link of the safety chain:

* `fence_off`: a stale term writes on (with the triggers disabled by whoever owns the database).
* `term_in_key`: the idempotency key of a debt changes when the leader does.
* `intent_per_attempt`: every attempt makes a payment intent of its own, and silence counts as a decline.
"""

from middleman.billing.collect import Collector
from middleman.billing.names import StableNames
from middleman.domain.attempts import Declined, DefiniteOutcome, RequiresAction, Succeeded
from middleman.domain.idempotency import IdempotencyKey, checked_key, confirm_key
from middleman.ports.processor import ConfirmIntent, Refused
from middleman.ports.store import OpenAttempt
from middleman.ports.term import Term


class TermInKey:
    """Names requests by the term that sends them."""

    def create_key(self, attempt: OpenAttempt, term: Term) -> IdempotencyKey:
        """Another key in another term."""
        return checked_key(f"term-{term.number}-{attempt.invoice_id}")

    def confirm_key(self, attempt: OpenAttempt, term: Term) -> IdempotencyKey:
        """Another key in another term."""
        return checked_key(f"term-{term.number}-{attempt.attempt_id}")


class IntentPerAttemptNames(StableNames):
    """Names the payment intent by the attempt."""

    def create_key(self, attempt: OpenAttempt, term: Term) -> IdempotencyKey:
        """Another key, and so another intent, for every attempt."""
        return checked_key(f"create-for-{attempt.attempt_id}")


class IntentPerAttempt(Collector):
    """Pays by whatever intent the attempt made, and takes no answer for a no."""

    async def collect(self, attempt: OpenAttempt, *, found: bool) -> None:
        """Create and confirm a fresh intent, whatever was bound before."""
        created = await self._create(attempt, repeat=False)
        if isinstance(created, Refused):
            await self._settle(attempt, Declined(code=created.code, message=created.message))
            return
        await self.ledger.bind(attempt, created.intent_id)
        request = ConfirmIntent(
            intent_id=created.intent_id,
            idempotency_key=confirm_key(attempt.attempt_id),
            payment_method=attempt.payment_method_id,
        )
        answer = await self.calls.confirm(request, repeat=False)
        outcome: DefiniteOutcome = (
            answer
            if isinstance(answer, (Succeeded, Declined, RequiresAction))
            else Declined(code="no_answer", message="silence was taken for a decline")
        )
        await self._settle(attempt, outcome)
