"""I3: never zero times. Every period that fell due has its invoice, at rest every one is settled, and every no is
the processor's.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from chaos.judge.books import Books, Invoice, Subscription
from chaos.judge.calendar import CalendarEndsError, boundary, by_this_machine, periods_due
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
        earlier_rules = by_this_machine(subscription)
        schedules = (subscription,) if earlier_rules is None else (subscription, earlier_rules)
        due = [periods_due(schedule, books.business_now) for schedule in schedules]
        found.checked += due[0]
        postponed += _check_numbers(found, subscription, invoices, min(due), max(due))
        for invoice in invoices:
            _check_boundaries(found, schedules, invoice)
        _check_contiguous(found, invoices)
    for subscription_id, invoices in billed.items():
        found.violation(subscription_id, f"{len(invoices)} invoices, but no such subscription")
    waiting = f"{postponed} periods are postponed behind an unpaid one" if postponed else ""
    found.note = "; ".join(filter(None, (waiting, found.note, books.time_zone_note)))
    return found.result()


def owes(invoices: Iterable[Invoice]) -> bool:
    """Whether one of a subscription's invoices is not settled yet, so that no later period may be billed."""
    return any(invoice.status in ("open", "requires_action") for invoice in invoices)


def count_postponed(books: Books) -> int:
    """How many periods fell due behind one that is not settled yet, and are not billed for that reason."""
    billed: dict[str, list[Invoice]] = defaultdict(list)
    for invoice in books.invoices:
        billed[invoice.subscription_id].append(invoice)
    return sum(
        max(0, periods_due(books.subscriptions[owing], books.business_now) - len(invoices))
        for owing, invoices in billed.items()
        if owing in books.subscriptions and owes(invoices)
    )


def _check_numbers(
    found: Findings, subscription: Subscription, invoices: Sequence[Invoice], due: int, may_be_due: int
) -> int:
    """Returns how many due periods are postponed. `may_be_due` counts those that fell due by earlier rules, too."""
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
    for number in sorted(numbers - set(range(may_be_due))):
        found.violation(subscription.id, f"period {number} is billed, but only {may_be_due} fell due")
    return postponed


def _check_boundaries(found: Findings, schedules: tuple[Subscription, ...], invoice: Invoice) -> None:
    """Each boundary is the calendar's: by the server's rules, or by earlier ones that this machine still has."""
    try:
        starts = [boundary(schedule, invoice.period_no) for schedule in schedules]
        ends = [boundary(schedule, invoice.period_no + 1) for schedule in schedules]
    except CalendarEndsError as error:
        found.violation(invoice.id, f"its period lies beyond the calendar: {error}")
        return
    if invoice.period_start not in starts or invoice.period_end not in ends:
        found.violation(
            invoice.id,
            f"covers {invoice.period_start} to {invoice.period_end}; by the calendar {starts[0]} to {ends[0]}",
        )


def _check_contiguous(found: Findings, invoices: list[Invoice]) -> None:
    """What one period ends with the next begins with, whatever rules either was counted by."""
    by_number = {invoice.period_no: invoice for invoice in invoices}
    for invoice in invoices:
        after = by_number.get(invoice.period_no + 1)
        if after is not None and after.period_start != invoice.period_end:
            found.violation(
                after.id,
                f"begins at {after.period_start}, and the period before it ends at {invoice.period_end}",
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
