"""I3's question to the processor: nobody is let off who was not tried, and every no is a charge that failed there."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.doctored import (
    INVOICES,
    LEDGER_READ_BEGAN,
    NOW,
    books,
    books_with,
    declined_intent,
    intent,
    ledger,
    unpaid_attempt,
)

from chaos.judge.books import Books, UnpaidAttempt
from chaos.judge.judging import judge_snapshot
from chaos.judge.ledger import Charge, Intent, Ledger
from chaos.judge.verdict import Verdict, broken
from chaos.run.performance import let_off

FIRST, SECOND = INVOICES[:2]
GIVEN_UP = replace(FIRST, status="uncollectible", settled_term=None, charge_id=None, last_attempt="declined")
IN_DUNNING = replace(GIVEN_UP, status="open", settled_at=None, next_attempt_at=NOW + timedelta(days=1))
WAITING = replace(GIVEN_UP, status="requires_action", last_attempt="requires_action")
PLANNED = replace(IN_DUNNING, last_attempt="requires_action", card_replaced=True)
SINCE = LEDGER_READ_BEGAN + timedelta(milliseconds=1)
REFUSED = unpaid_attempt(FIRST, charge_id=None, code="resource_missing")


def of(*unpaid: UnpaidAttempt) -> Books:
    return books_with(GIVEN_UP, *unpaid)


def judged(there: Intent, here: Books, *, require_rest: bool = True) -> Verdict:
    return judge_snapshot(ledger(there), here, require_rest=require_rest)


@pytest.mark.parametrize("status", ["uncollectible", "open", "requires_action", "void"])
def test_nobody_charged_anywhere_is_never_green(status: str) -> None:
    given_up = tuple(
        replace(
            each,
            status=status,
            payment_intent_id=None,
            bound_term=None,
            settled_term=None,
            charge_id=None,
            next_attempt_at=NOW + timedelta(days=1) if status == "open" else None,
            last_attempt="requires_action" if status == "requires_action" else "declined",
        )
        for each in INVOICES
    )
    tries = tuple(unpaid_attempt(each) for each in given_up)
    here = books(invoices=given_up, unpaid_attempts=tries, bookings=())
    assert set(broken(judge_snapshot(Ledger({}, ()), here, require_rest=True))) == {"I3"}


RIGHT: dict[str, Callable[[], tuple[Intent, Books]]] = {
    "declined by a charge that failed, and given up": lambda: (
        declined_intent(FIRST),
        of(unpaid_attempt(FIRST)),
    ),
    "declined, and the next attempt is planned": lambda: (
        declined_intent(FIRST),
        books_with(IN_DUNNING, unpaid_attempt(FIRST)),
    ),
    "declined, then paid by the next attempt": lambda: (
        intent(FIRST, charges=(*declined_intent(FIRST).charges, *intent(FIRST).charges)),
        books_with(FIRST, unpaid_attempt(FIRST, is_last=False)),
    ),
    "refused without an intent, then paid by the next attempt": lambda: (
        intent(FIRST),
        books_with(FIRST, replace(REFUSED, is_last=False)),
    ),
    "waits for the customer after a failed charge": lambda: (
        declined_intent(FIRST),
        books_with(WAITING, unpaid_attempt(FIRST, status="requires_action")),
    ),
    "waits for the customer, who was asked before any charge": lambda: (
        declined_intent(FIRST, status="requires_action", charges=()),
        books_with(WAITING, unpaid_attempt(FIRST, status="requires_action", charge_id=None, code=None)),
    ),
    "waited for the customer, who replaced the card: the next attempt is planned": lambda: (
        declined_intent(FIRST),
        books_with(PLANNED, unpaid_attempt(FIRST, status="requires_action")),
    ),
    "canceled there": lambda: (
        declined_intent(FIRST, status="canceled", charges=()),
        books_with(
            replace(GIVEN_UP, last_attempt="canceled"),
            unpaid_attempt(FIRST, status="canceled", charge_id=None),
        ),
    ),
}


@pytest.mark.parametrize("case", RIGHT)
def test_a_no_that_the_processor_said_is_right(case: str) -> None:
    assert judged(*RIGHT[case]()).holds


WRONG: dict[str, Callable[[], tuple[Intent, Books]]] = {
    "a charge that the ledger does not have": lambda: (
        declined_intent(FIRST, charges=()),
        of(unpaid_attempt(FIRST)),
    ),
    "a charge of another invoice's intent": lambda: (
        declined_intent(FIRST),
        of(unpaid_attempt(FIRST, charge_id=SECOND.charge_id)),
    ),
    "a charge that two attempts name": lambda: (
        declined_intent(FIRST),
        of(
            unpaid_attempt(FIRST, id="at_1", is_last=False),
            unpaid_attempt(FIRST, id="at_2"),
        ),
    ),
    "an issuer's no without a charge": lambda: (
        declined_intent(FIRST, charges=()),
        of(unpaid_attempt(FIRST, charge_id=None)),
    ),
    "a no without a reason": lambda: (
        declined_intent(FIRST, charges=()),
        of(unpaid_attempt(FIRST, charge_id=None, code=None)),
    ),
    "canceled here, and not there": lambda: (
        declined_intent(FIRST),
        books_with(replace(GIVEN_UP, last_attempt="canceled"), unpaid_attempt(FIRST, status="canceled")),
    ),
    "given up after no attempt at all": lambda: (
        declined_intent(FIRST),
        books_with(replace(GIVEN_UP, last_attempt=None)),
    ),
    "given up while the customer is waited for": lambda: (
        declined_intent(FIRST),
        books_with(
            replace(GIVEN_UP, last_attempt="requires_action"),
            unpaid_attempt(FIRST, status="requires_action"),
        ),
    ),
    "planned after the customer was waited for, though no card was replaced": lambda: (
        declined_intent(FIRST),
        books_with(replace(PLANNED, card_replaced=False), unpaid_attempt(FIRST, status="requires_action")),
    ),
    "open after a card was replaced, and nothing planned": lambda: (
        declined_intent(FIRST),
        books_with(replace(PLANNED, next_attempt_at=None), unpaid_attempt(FIRST, status="requires_action")),
    ),
    "in dunning after nothing was declined": lambda: (
        declined_intent(FIRST, status="canceled"),
        books_with(replace(IN_DUNNING, last_attempt="canceled"), unpaid_attempt(FIRST, status="canceled")),
    ),
    "void, which the product does not know": lambda: (
        declined_intent(FIRST),
        books_with(replace(GIVEN_UP, status="void"), unpaid_attempt(FIRST)),
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_no_that_the_processor_did_not_say_breaks_i3(case: str) -> None:
    assert set(broken(judged(*WRONG[case](), require_rest=False))) == {"I3"}


def test_a_good_card_settled_as_declined_is_seen_from_all_sides() -> None:
    by_its_charge = of(unpaid_attempt(FIRST, charge_id=FIRST.charge_id))
    assert set(broken(judged(intent(FIRST), by_its_charge))) == {"I2", "I3", "I9"}
    without_a_charge = of(REFUSED)
    assert set(broken(judged(intent(FIRST), without_a_charge))) == {"I2", "I3", "I9"}


def test_what_was_settled_after_the_ledger_was_read_is_in_flight() -> None:
    for attempt, there, last in (
        (unpaid_attempt(FIRST, settled_at=SINCE), declined_intent(FIRST, charges=()), "declined"),
        (
            unpaid_attempt(FIRST, settled_at=SINCE, status="canceled", charge_id=None),
            declined_intent(FIRST),
            "canceled",
        ),
    ):
        here = books_with(replace(GIVEN_UP, last_attempt=last), attempt)
        running = judged(there, here, require_rest=False)
        assert running.holds
        assert not running.at_rest
        assert not judged(there, here).holds


def test_requests_that_were_refused_are_counted_in_the_note() -> None:
    verdict = judged(declined_intent(FIRST, charges=()), of(REFUSED))
    assert verdict.holds
    assert verdict.invariants[2].note.startswith("1 attempts without a charge")
    assert let_off(verdict).startswith("1 attempts are declined without a charge")
    assert let_off(judged(declined_intent(FIRST), of(unpaid_attempt(FIRST)))) == ""


def test_a_failed_charge_that_nobody_names_is_a_try_of_the_customers_own() -> None:
    there = declined_intent(FIRST)
    tried = replace(there, charges=(*there.charges, Charge("ch_own", "failed", 1299, 0, "EUR")))
    assert judged(tried, of(unpaid_attempt(FIRST))).holds
