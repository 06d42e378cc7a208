"""I3: never zero times. Every period that fell due has its invoice, at rest every one is settled, and every no is
the processor's.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from chaos.judge.books import Books, Invoice, Subscription
from chaos.judge.calendar import CalendarEndsError, boundary, periods_due
from chaos.judge.invariants.outcomes import check_last_attempt, check_unpaid_attempts
from chaos.judge.ledger import Ledger
from chaos.judge.verdict import Findings, InvariantResult


def every_due_period_is_billed(ledger: Ledger, books: Books) -> InvariantResult:
    """I3. `checked` is the number of periods that the clock says must have been billed.

    On a running system a due period that the product knows to be due (its `next_period_no` has not passed
    it) is pending; one that it has passed without an invoice is lost, and a violation at once. Behind an invoice that
    is not settled later periods are postponed: one debt at a time. How many are is said beside the verdict.
    """
    found = Findings(
        "I3", "periods are contiguous from the first, every due one is billed and tried, and settled at rest"
    )
    billed: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in books.invoices:
        billed[invoice.subscription_id].append(invoice)
        _check_settled(found, invoice, books)
        check_last_attempt(found, invoice)
    check_unpaid_attempts(found, ledger, books)
    postponed = 0
    for subscription in books.subscriptions.values():
        invoices = billed.pop(subscription.id, [])
        due = periods_due(subscription, books.business_now)
        found.checked += due
        postponed += _check_numbers(found, subscription, invoices, due)
        for invoice in invoices:
            _check_boundaries(found, subscription, invoice)
    for subscription_id, invoices in billed.items():
        found.violation(subscription_id, f"{len(invoices)} invoices, but no such subscription")
    if postponed:
        found.note = f"{postponed} periods are postponed behind an unpaid one"
    return found.result()


def owes(invoices: Iterable[Invoice]) -> bool:
    """Whether one of a subscription's invoices is not settled yet, so that no later period may be billed."""
    return any(invoice.status in ("open", "requires_action") for invoice in invoices)


def _check_numbers(found: Findings, subscription: Subscription, invoices: Sequence[Invoice], due: int) -> int:
    """Returns how many due periods are postponed."""
    numbers = {invoice.period_no for invoice in invoices}
    last = max(numbers, default=-1)
    postponed = 0
    for number in sorted(set(range(due)) - numbers):
        if number > last and number >= subscription.next_period_no and owes(invoices):
            postponed += 1
        elif number >= subscription.next_period_no and number > last:
            found.in_flight(subscription.id, f"period {number} is due and not billed yet")
        else:
            found.violation(subscription.id, f"period {number} fell due and has no invoice")
    for number in sorted(numbers - set(range(due))):
        found.violation(subscription.id, f"period {number} is billed, but only {due} fell due")
    return postponed


def _check_boundaries(found: Findings, subscription: Subscription, invoice: Invoice) -> None:
    try:
        expected = boundary(subscription, invoice.period_no), boundary(subscription, invoice.period_no + 1)
    except CalendarEndsError as error:
        found.violation(invoice.id, f"its period lies beyond the calendar: {error}")
        return
    if (invoice.period_start, invoice.period_end) != expected:
        found.violation(
            invoice.id,
            f"covers {invoice.period_start} to {invoice.period_end}; "
            f"by the calendar {expected[0]} to {expected[1]}",
        )


def _check_settled(found: Findings, invoice: Invoice, books: Books) -> None:
    if invoice.status != "open":
        if invoice.attempt_open:
            found.violation(invoice.id, f"is {invoice.status}, and an attempt is still open")
    elif invoice.attempt_open:
        found.in_flight(invoice.id, "its attempt is open")
    elif invoice.next_attempt_at is None:
        found.violation(invoice.id, "is open, and nothing will ever be tried again")
    elif invoice.next_attempt_at <= books.business_now:
        found.in_flight(invoice.id, f"its next attempt has been due since {invoice.next_attempt_at}")
