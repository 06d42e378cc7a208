"""I9: the double-entry ledger balances, and is the processor's money."""

from collections import defaultdict
from dataclasses import dataclass, field
from fractions import Fraction

from chaos.judge.amounts import processor_amount
from chaos.judge.books import Booking, Books, Invoice
from chaos.judge.ledger import Intent, Ledger
from chaos.judge.verdict import Findings, InvariantResult

Totals = dict[str, Fraction]


def _totals() -> Totals:
    return defaultdict(Fraction)


@dataclass(slots=True)
class _Sums:
    """Per currency, in the processor's units. What is in flight is known on one side only, so far."""

    booked: Totals = field(default_factory=_totals)
    booked_since: Totals = field(default_factory=_totals)  # paid after the processor's ledger was read
    received: Totals = field(default_factory=_totals)  # less refunds
    not_settled_yet: Totals = field(default_factory=_totals)  # received for an attempt that is open


def entries_balance_and_equal_the_processor(ledger: Ledger, books: Books) -> InvariantResult:
    """I9. `checked` is the number of bookings, each a debit and a credit.

    Each booking must balance and be that of a paid invoice, to the minor unit (two that swapped their amounts sum up as
    well): all in one snapshot, so this is strict on a running system too. The totals may differ by what is in flight,
    to the unit, and by nothing else.
    """
    found = Findings(
        "I9", "the double-entry ledger sums to zero and equals the processor's total per currency"
    )
    invoices = {invoice.id: invoice for invoice in books.invoices}
    _check_bookings(found, books, invoices)
    sums = _Sums()
    for booking in books.bookings:
        _add_booking(sums, booking, invoices.get(booking.invoice_id), ledger, books)
    by_intent = {invoice.payment_intent_id: invoice for invoice in books.invoices if invoice.attempt_open}
    for intent in ledger.intents.values():
        _add_intent(sums, intent, by_intent.get(intent.id))
    for currency in sorted({*sums.booked, *sums.received}):
        _compare(found, currency, sums)
    return found.result()


def _check_bookings(found: Findings, books: Books, invoices: dict[str, Invoice]) -> None:
    paid = {invoice.id for invoice in books.invoices if invoice.status == "paid"}
    booked: dict[str, int] = defaultdict(int)
    for booking in books.bookings:
        found.checked += 1
        booked[booking.invoice_id] += 1
        if booking.balance_minor:
            found.violation(
                booking.attempt_id,
                f"its entries sum to {booking.balance_minor} {booking.currency} and not to zero",
            )
        if booking.invoice_id not in paid:
            found.violation(booking.attempt_id, f"is booked, but {booking.invoice_id} is not paid")
        invoice = invoices.get(booking.invoice_id)
        if invoice is not None and (booking.received_minor, booking.currency) != (
            invoice.amount_minor,
            invoice.currency,
        ):
            found.violation(
                booking.attempt_id,
                f"is booked as {booking.received_minor} {booking.currency}; {invoice.id} is over "
                f"{invoice.amount_minor} {invoice.currency}",
            )
    for invoice_id in sorted(paid):
        if booked[invoice_id] != 1:
            found.violation(invoice_id, f"is paid, and booked {booked[invoice_id]} times")


def _add_booking(
    sums: _Sums, booking: Booking, invoice: Invoice | None, ledger: Ledger, books: Books
) -> None:
    amount = processor_amount(booking.received_minor, booking.currency)
    sums.booked[booking.currency] += amount
    intent = None if invoice is None else ledger.intents.get(invoice.payment_intent_id or "")
    paid_there = intent is not None and intent.status == "succeeded"
    if not paid_there and booking.recorded_at >= books.ledger_read_began:
        sums.booked_since[booking.currency] += amount


def _add_intent(sums: _Sums, intent: Intent, waiting: Invoice | None) -> None:
    received = Fraction(intent.amount_received - sum(charge.amount_refunded for charge in intent.charges))
    if not received:
        return
    sums.received[intent.currency] += received
    if waiting is not None and waiting.status == "open":
        sums.not_settled_yet[intent.currency] += received


def _compare(found: Findings, currency: str, sums: _Sums) -> None:
    booked, since = sums.booked[currency], sums.booked_since[currency]
    received, waiting = sums.received[currency], sums.not_settled_yet[currency]
    if booked - since != received - waiting:
        found.violation(
            currency,
            f"booked {booked - since} on processor_balance, received there less refunds {received - waiting} "
            f"(processor's units; besides {since} booked since, {waiting} not settled yet)",
        )
    elif since or waiting:
        found.in_flight(currency, f"{since} booked since the ledger was read, {waiting} not settled yet")
