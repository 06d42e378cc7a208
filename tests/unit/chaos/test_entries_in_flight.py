"""I9 on a running system: it forgives exactly what is in flight between the two readings, to the minor unit."""

from dataclasses import replace
from datetime import timedelta

from tests.support.doctored import INVOICES, LEDGER_READ_BEGAN, booking, books, books_with, intent, ledger

from chaos.judge.books import Books, Invoice
from chaos.judge.judging import judge_snapshot
from chaos.judge.ledger import Ledger
from chaos.judge.verdict import InvariantResult

FIRST = INVOICES[0]
SINCE = LEDGER_READ_BEGAN + timedelta(milliseconds=1)
NOT_PAID_YET = intent(FIRST, status="requires_payment_method", amount_received=0, charges=())


def still_open(invoice: Invoice) -> Invoice:
    """Its attempt is under way."""
    return replace(
        invoice, status="open", settled_at=None, settled_term=None, charge_id=None, attempt_open=True
    )


def entries(ledger: Ledger, books: Books, *, require_rest: bool = False) -> InvariantResult:
    [result] = [
        result
        for result in judge_snapshot(ledger, books, require_rest=require_rest).invariants
        if result.name == "I9"
    ]
    return result


def test_at_rest_every_booking_is_checked() -> None:
    result = entries(ledger(), books(), require_rest=True)
    assert result.holds
    assert (result.checked, result.total_pending) == (6, 0)


def test_money_for_an_attempt_that_is_not_settled_yet_is_pending() -> None:
    result = entries(ledger(), books_with(still_open(FIRST)))
    assert result.holds
    assert [finding.subject for finding in result.pending] == ["EUR"]
    assert "1299 not settled yet" in result.pending[0].detail
    assert not entries(ledger(), books_with(still_open(FIRST)), require_rest=True).holds


def test_money_booked_since_the_ledger_was_read_is_pending() -> None:
    paid_since = books_with(replace(FIRST, settled_at=SINCE))
    result = entries(ledger(NOT_PAID_YET), paid_since)
    assert result.holds
    assert "1299 booked since" in result.pending[0].detail


def test_both_at_once_do_not_hide_each_other() -> None:
    second = INVOICES[1]
    running = books(invoices=(replace(FIRST, settled_at=SINCE), still_open(second), *INVOICES[2:]))
    assert entries(ledger(NOT_PAID_YET), running).holds
    short = replace(booking(FIRST), received_minor=1298, recorded_at=SINCE)
    missing = replace(running, bookings=(short, *running.bookings[2:]))
    assert not entries(ledger(NOT_PAID_YET), missing).holds


def test_money_booked_before_the_ledger_was_read_and_not_there_is_a_violation_at_once() -> None:
    result = entries(ledger(NOT_PAID_YET), books())
    assert not result.holds
    assert result.violations[0].subject == "EUR"


def test_what_is_settled_while_the_ledger_is_being_read_counts_on_both_sides() -> None:
    result = entries(ledger(), books_with(replace(FIRST, settled_at=SINCE)))
    assert result.holds
    assert not result.total_pending


def test_each_currency_stands_for_itself() -> None:
    in_yen = replace(FIRST, currency="JPY", amount_minor=500)
    there = intent(in_yen, amount=500, amount_received=500)
    assert entries(ledger(there), books_with(in_yen), require_rest=True).holds
    wrong = intent(in_yen, amount=501, amount_received=501)
    [violation] = entries(ledger(wrong), books_with(in_yen)).violations
    assert violation.subject == "JPY"
    assert "booked 500" in violation.detail
    assert "refunds 501" in violation.detail


def test_nothing_charged_and_nothing_booked_balances() -> None:
    empty = books(subscriptions={}, invoices=(), terms=(), fences=(), write_runs=())
    assert entries(Ledger({}, ()), empty, require_rest=True).holds
