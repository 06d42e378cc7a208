"""The half of I3 that asks the processor: whoever was not charged was tried, and the processor said no.

Without it an empty ledger would go with books in which every debt was given up.
"""

from collections.abc import Callable, Mapping

from chaos.judge.books import Books, Invoice, UnpaidAttempt
from chaos.judge.ledger import Intent, Ledger
from chaos.judge.verdict import Findings

_LAST_ATTEMPT_OF = {
    "open": ("declined",),  # with no attempt under way: dunning has planned the next
    "paid": ("succeeded",),
    "requires_action": ("requires_action",),
    "uncollectible": ("declined", "canceled"),
}
_ISSUERS_CODES = frozenset(
    {
        "authentication_required",
        "card_declined",
        "expired_card",
        "incorrect_cvc",
        "incorrect_number",
        "processing_error",
    }
)
"""What only an issuer says, who is asked with a charge: https://docs.stripe.com/error-codes"""

_Report = Callable[[str, str], None]


def check_last_attempt(found: Findings, invoice: Invoice) -> None:
    """What an invoice has come to is what its last attempt came to: one snapshot, so strict at any time."""
    if invoice.attempt_open:
        return
    allowed = _LAST_ATTEMPT_OF.get(invoice.status)
    if allowed is None:
        found.violation(
            invoice.id, f"is {invoice.status}, which nothing in the product ever makes of an invoice"
        )
    elif invoice.status == "open" and invoice.last_attempt == "requires_action" and invoice.card_replaced:
        return  # the customer came back with another payment method: the next attempt is planned
    elif invoice.last_attempt not in allowed:
        last = invoice.last_attempt or "missing"
        found.violation(invoice.id, f"is {invoice.status}, but its last attempt is {last}")


def check_unpaid_attempts(found: Findings, ledger: Ledger, books: Books) -> None:
    """Each try that took no money is a failed charge of the invoice's own intent, or an intent that was canceled.

    The processor may refuse a request for good, and then makes no charge: such attempts are counted in the note.
    """
    invoices = {invoice.id: invoice for invoice in books.invoices}
    declined: set[str] = set()
    refused = 0
    for attempt in books.unpaid_attempts:
        invoice = invoices.get(attempt.invoice_id)
        intent = None if invoice is None else ledger.intents.get(invoice.payment_intent_id or "")
        settled_since = attempt.settled_at >= books.ledger_read_began
        report = found.in_flight if settled_since else found.violation
        if attempt.status == "canceled":
            _check_canceled(report, attempt, intent)
        elif attempt.charge_id is not None:
            _check_charge(report, attempt, attempt.charge_id, intent)
            if attempt.status == "declined" and attempt.charge_id in declined:
                found.violation(attempt.id, f"is not the only one that {attempt.charge_id} declined")
            declined.add(attempt.charge_id)
        else:
            refused += 1
            _check_without_charge(found, attempt, invoice, intent)
    if refused:
        found.note = (
            f"{refused} attempts without a charge: the processor is said to have refused the request itself"
        )


def _check_canceled(report: _Report, attempt: UnpaidAttempt, intent: Intent | None) -> None:
    if intent is None or intent.status != "canceled":
        told = (
            "no intent of its invoice is in the ledger"
            if intent is None
            else f"{intent.id} is {intent.status}"
        )
        report(attempt.id, f"is canceled here, but {told}")


def _check_charge(report: _Report, attempt: UnpaidAttempt, charge_id: str, intent: Intent | None) -> None:
    if intent is None:
        report(
            attempt.id, f"is {attempt.status} by {charge_id}, but no intent of its invoice is in the ledger"
        )
        return
    statuses: Mapping[str, str] = {charge.id: charge.status for charge in intent.charges}
    if (status := statuses.get(charge_id)) != "failed":
        told = f"no charge of {intent.id}" if status is None else f"{status} there"
        report(attempt.id, f"is {attempt.status} by {charge_id}, which is {told}")


def _check_without_charge(
    found: Findings, attempt: UnpaidAttempt, invoice: Invoice | None, intent: Intent | None
) -> None:
    if attempt.status == "declined" and (attempt.code is None or attempt.code in _ISSUERS_CODES):
        found.violation(
            attempt.id, f"is declined ({attempt.code or 'no code'}), and names no charge that failed"
        )
    if attempt.is_last and intent is not None and intent.status == "succeeded":
        found.violation(attempt.id, f"is {attempt.status} without a charge, but {intent.id} took the money")
