"""Each invariant holds in a clean world and is violated in one falsified in just one place."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from tests.support.doctored import (
    CREATE,
    INVOICES,
    LEADER,
    LEDGER_READ_BEGAN,
    NOW,
    SETTLED_AT,
    SUBSCRIPTIONS,
    SUCCESSOR,
    WRITES,
    booking,
    books,
    books_with,
    declined_intent,
    intent,
    invoice,
    key,
    ledger,
    subscription,
    unpaid_attempt,
)

from chaos.judge.books import Booking, Books, Fence, WriteRun
from chaos.judge.invariants import invariants
from chaos.judge.judging import judge_snapshot
from chaos.judge.ledger import Charge, Ledger
from chaos.judge.verdict import Verdict

FIRST = INVOICES[0]
LAST_PERIOD_OPEN = replace(
    INVOICES[2],
    status="open",
    settled_at=None,
    settled_term=None,
    charge_id=None,
    attempt_open=True,
    last_attempt="open",
)

DECLINED = replace(FIRST, status="uncollectible", settled_term=None, charge_id=None, last_attempt="declined")
CHEAP = replace(FIRST, amount_minor=1)
IN_DUNNING = replace(DECLINED, status="open", settled_at=None, next_attempt_at=NOW + timedelta(days=1))


def books_booking(changed: Booking) -> Books:
    """The clean books with one booking, known by its attempt, replaced."""
    others = (each for each in map(booking, INVOICES) if each.attempt_id != changed.attempt_id)
    return books(bookings=(*others, changed))


def broken(verdict: Verdict) -> set[str]:
    """The names of the invariants that do not hold."""
    return {result.name for result in verdict.invariants if not result.holds}


def test_a_clean_world_holds_and_is_at_rest() -> None:
    verdict = judge_snapshot(ledger(), books(), require_rest=True)
    assert verdict.holds
    assert verdict.at_rest
    assert [result.name for result in verdict.invariants] == [f"I{number}" for number in range(1, 10)]
    assert all(result.checked or result.name in ("I5", "I8") for result in verdict.invariants)
    assert verdict.counts["periods_due"] == 6
    assert verdict.counts["charges_succeeded"] == 6
    assert verdict.counts["received_in_processor_units"] == {"EUR": 6 * 1299}


def test_a_world_without_subscriptions_holds() -> None:
    empty = books(subscriptions={}, invoices=(), terms=(), fences=(), write_runs=())
    assert judge_snapshot(Ledger({}, ()), empty, require_rest=True).holds


FALSIFIED: dict[str, tuple[Callable[[], tuple[Ledger, Books]], set[str]]] = {
    "a period charged by a second intent": (
        lambda: (ledger(intent(FIRST, id="pi_twin")), books()),
        {"I1", "I2", "I5", "I9"},
    ),
    "one intent with two succeeded charges": (
        lambda: (
            ledger(
                intent(
                    FIRST,
                    charges=(*intent(FIRST).charges, Charge("ch_twin", "succeeded", 1299, 0, "EUR")),
                )
            ),
            books(),
        ),
        {"I1"},
    ),
    "a payment that the books call open, with no attempt under way": (
        lambda: (
            ledger(),
            books_with(IN_DUNNING),
        ),
        {"I2", "I9"},
    ),
    "a payment that the books call uncollectible": (
        lambda: (ledger(), books_with(DECLINED)),
        {"I2", "I9"},
    ),
    "an invoice paid here and not there": (
        lambda: (ledger(intent(FIRST, status="requires_payment_method", amount_received=0)), books()),
        {"I2", "I9"},
    ),
    "an invoice paid here with an intent that does not exist": (
        lambda: (ledger(without=FIRST.payment_intent_id or ""), books()),
        {"I2", "I9"},
    ),
    "two invoices that name one intent": (
        lambda: (ledger(), books_with(replace(INVOICES[1], payment_intent_id=FIRST.payment_intent_id))),
        {"I2", "I5"},
    ),
    "another amount there": (
        lambda: (ledger(intent(FIRST, amount=1300, amount_received=1300)), books()),
        {"I2", "I9"},
    ),
    "only a part received there": (
        lambda: (ledger(intent(FIRST, amount_received=1)), books()),
        {"I2", "I9"},
    ),
    "another currency there": (
        lambda: (ledger(intent(FIRST, currency="USD")), books()),
        {"I2", "I9"},
    ),
    "one minor unit asked for instead of the price, here and there": (
        lambda: (
            ledger(
                intent(
                    CHEAP,
                    amount=1,
                    amount_received=1,
                    charges=(Charge(CHEAP.charge_id or "", "succeeded", 1, 0, "EUR"),),
                )
            ),
            books_with(CHEAP),
        ),
        {"I2"},
    ),
    "a debt in another currency than its price": (
        lambda: (
            ledger(intent(replace(FIRST, currency="USD"))),
            books_with(replace(FIRST, currency="USD")),
        ),
        {"I2"},
    ),
    "a price that was not charged yet, and is wrong": (
        lambda: (
            ledger(declined_intent(CHEAP)),
            books_with(
                replace(IN_DUNNING, amount_minor=1),
                unpaid_attempt(FIRST),
            ),
        ),
        {"I2"},
    ),
    "somebody else's payment": (
        lambda: (ledger(intent(FIRST, customer="cus_sub_2")), books()),
        {"I2"},
    ),
    "a debt handed to another customer": (
        lambda: (ledger(), books_with(replace(FIRST, processor_customer_id="cus_sub_2"))),
        {"I2"},
    ),
    "two bookings that swapped their amounts": (
        lambda: (
            ledger(),
            books(
                bookings=(
                    booking(FIRST, received_minor=1298),
                    booking(INVOICES[1], received_minor=1300),
                    *map(booking, INVOICES[2:]),
                )
            ),
        ),
        {"I9"},
    ),
    "an intent that names another period": (
        lambda: (
            ledger(intent(FIRST, metadata={"subscription_id": FIRST.subscription_id, "period_no": "7"})),
            books(),
        ),
        {"I2"},
    ),
    "settled with a charge of somebody else": (
        lambda: (ledger(), books_with(replace(FIRST, charge_id="ch_other"))),
        {"I2"},
    ),
    "a due period without an invoice, passed by": (
        lambda: (
            ledger(without=INVOICES[2].payment_intent_id or ""),
            books(invoices=tuple(each for each in INVOICES if each.id != INVOICES[2].id)),
        ),
        {"I3"},
    ),
    "a gap between the periods": (
        lambda: (
            ledger(without=INVOICES[1].payment_intent_id or ""),
            books(invoices=tuple(each for each in INVOICES if each.id != INVOICES[1].id)),
        ),
        {"I3"},
    ),
    "a period billed before it fell due": (
        lambda: (ledger(intent(invoice(SUBSCRIPTIONS[0], 3))), books_with(invoice(SUBSCRIPTIONS[0], 3))),
        {"I3"},
    ),
    "a period billed after the subscription ended": (
        lambda: (
            ledger(),
            books(
                subscriptions={
                    each.id: each
                    for each in (subscription(1, ends_at=INVOICES[1].period_end), SUBSCRIPTIONS[1])
                }
            ),
        ),
        {"I3"},
    ),
    "a period that begins an hour late": (
        lambda: (
            ledger(),
            books_with(replace(FIRST, period_start=FIRST.period_start + timedelta(hours=1))),
        ),
        {"I3"},
    ),
    "an open invoice that nobody will try again": (
        lambda: (
            ledger(intent(INVOICES[2], status="requires_payment_method", amount_received=0, charges=())),
            books_with(replace(LAST_PERIOD_OPEN, attempt_open=False, last_attempt="declined")),
        ),
        {"I3"},
    ),
    "a paid invoice with an attempt still open": (
        lambda: (ledger(), books_with(replace(FIRST, attempt_open=True))),
        {"I3"},
    ),
    "an invoice of no subscription": (
        lambda: (ledger(), books(subscriptions={"sub_1": SUBSCRIPTIONS[0]})),
        {"I3"},
    ),
    "a write of the old term after one of the new": (
        lambda: (
            ledger(),
            books(write_runs=(*WRITES, WriteRun(1, 2, SETTLED_AT, "attempt.settled", "at_1_0_1"))),
        ),
        {"I4"},
    ),
    "no commit timestamps": (lambda: (ledger(), books(write_runs=None)), {"I4"}),
    "a fence behind the last term": (
        lambda: (ledger(), books(fences=(Fence(0, 1, "uid-1"),))),
        {"I4"},
    ),
    "a fence of the same number and another life": (
        lambda: (ledger(), books(fences=(Fence(0, 2, "uid-other"),))),
        {"I4"},
    ),
    "no fence": (lambda: (ledger(), books(fences=())), {"I4"}),
    "a later term with a smaller number": (
        lambda: (
            ledger(),
            books(
                terms=(LEADER, SUCCESSOR, replace(LEADER, number=0, started_at=LEDGER_READ_BEGAN)),
                fences=(Fence(0, 0, "uid-1"),),
            ),
        ),
        {"I4"},
    ),
    "an invoice bound in an earlier term than created": (
        lambda: (ledger(), books_with(replace(FIRST, created_term=2, bound_term=1, settled_term=2))),
        {"I4"},
    ),
    "money on an intent that no invoice names": (
        lambda: (
            ledger(intent(FIRST, id="pi_stray", metadata={}, status="processing", amount_received=0)),
            books(),
        ),
        {"I5"},
    ),
    "a key that came with another body": (
        lambda: (ledger(keys=(key(FIRST, key="other", body_sha256="x", mismatches=1),)), books()),
        {"I6"},
    ),
    "a key executed twice": (
        lambda: (ledger(keys=(key(FIRST, key="other", body_sha256="x", executions=2),)), books()),
        {"I6"},
    ),
    "two keys that created the same intent": (
        lambda: (ledger(keys=(key(FIRST, key=f"middleman-create-{FIRST.id}-term-2"),)), books()),
        {"I6"},
    ),
    "a refund above the charge": (
        lambda: (
            ledger(intent(FIRST, charges=(Charge(FIRST.charge_id or "", "succeeded", 1299, 1300, "EUR"),))),
            books(),
        ),
        {"I7", "I9"},
    ),
    "a refund of a charge that failed": (
        lambda: (
            ledger(intent(FIRST, charges=(*intent(FIRST).charges, Charge("ch_f", "failed", 1299, 1, "EUR")))),
            books(),
        ),
        {"I7", "I9"},
    ),
    "entries that do not balance": (
        lambda: (ledger(), books_booking(booking(FIRST, balance_minor=-1))),
        {"I9"},
    ),
    "a success booked short on both sides": (
        lambda: (ledger(), books_booking(booking(FIRST, received_minor=1298))),
        {"I9"},
    ),
    "a success that is not booked": (
        lambda: (ledger(), books(bookings=tuple(map(booking, INVOICES[1:])))),
        {"I9"},
    ),
    "a success booked twice": (
        lambda: (
            ledger(),
            books(bookings=(booking(FIRST, attempt_id="at_1_0_2"), *map(booking, INVOICES))),
        ),
        {"I9"},
    ),
    "a success booked in another currency": (
        lambda: (ledger(), books_booking(booking(FIRST, currency="USD"))),
        {"I9"},
    ),
    "a decline booked as a success": (
        lambda: (
            ledger(declined_intent(FIRST)),
            books(
                invoices=(DECLINED, *INVOICES[1:]),
                unpaid_attempts=(unpaid_attempt(FIRST),),
                bookings=tuple(map(booking, INVOICES)),
            ),
        ),
        {"I9"},
    ),
    "a refund that nobody booked": (
        lambda: (
            ledger(intent(FIRST, charges=(Charge(FIRST.charge_id or "", "succeeded", 1299, 1, "EUR"),))),
            books(),
        ),
        {"I9"},
    ),
}


@pytest.mark.parametrize("falsified", FALSIFIED)
def test_the_judge_sees(falsified: str) -> None:
    make, expected = FALSIFIED[falsified]
    verdict = judge_snapshot(*make())
    assert not verdict.holds
    assert broken(verdict) == expected
    found = [result for result in verdict.invariants if not result.holds]
    assert all(result.total_violations >= len(result.violations) > 0 for result in found)
    assert all(finding.subject and finding.detail for result in found for finding in result.violations)


def test_every_invariant_is_falsified_by_some_test() -> None:
    named = {name for _, names in FALSIFIED.values() for name in names}
    needs_a_run = "I8"  # see test_promptness
    assert named | {needs_a_run} == {f"I{number}" for number in range(1, len(invariants()) + 1)}


def test_a_second_key_whose_first_was_never_executed_is_no_second_debt() -> None:
    unexecuted = key(FIRST, key=f"middleman-create-{FIRST.id}-2", executions=0)
    assert judge_snapshot(ledger(keys=(unexecuted,)), books()).holds


def test_two_keys_that_confirm_the_same_intent_are_two_attempts() -> None:
    path = f"{CREATE}/pi_1/confirm"
    uses = tuple(key(FIRST, key=f"confirm-{number}", path=path, body_sha256="same") for number in (1, 2))
    assert judge_snapshot(ledger(keys=uses), books()).holds


IN_FLIGHT: dict[str, Callable[[], tuple[Ledger, Books]]] = {
    "a payment whose attempt is still open": lambda: (ledger(), books_with(LAST_PERIOD_OPEN)),
    "a payment settled after the ledger was read": lambda: (
        ledger(intent(FIRST, status="requires_payment_method", amount_received=0, charges=())),
        books_with(replace(FIRST, settled_at=LEDGER_READ_BEGAN + timedelta(milliseconds=1))),
    ),
    "a due period not claimed yet": lambda: (
        ledger(without=INVOICES[2].payment_intent_id or ""),
        books(
            subscriptions={each.id: each for each in (subscription(1, next_period_no=2), SUBSCRIPTIONS[1])},
            invoices=tuple(each for each in INVOICES if each.id != INVOICES[2].id),
        ),
    ),
    "a retry that is due": lambda: (
        ledger(intent(INVOICES[2], status="requires_payment_method", amount_received=0, charges=())),
        books_with(
            replace(LAST_PERIOD_OPEN, attempt_open=False, next_attempt_at=NOW, last_attempt="declined")
        ),
    ),
}


@pytest.mark.parametrize("moment", IN_FLIGHT)
def test_what_is_in_flight_is_pending_on_a_running_system_and_a_violation_at_rest(moment: str) -> None:
    running = judge_snapshot(*IN_FLIGHT[moment]())
    assert running.holds
    assert not running.at_rest
    assert sum(result.total_pending for result in running.invariants) >= 1

    at_rest = judge_snapshot(*IN_FLIGHT[moment](), require_rest=True)
    assert not at_rest.holds
    assert not at_rest.at_rest


def test_only_the_first_twenty_findings_are_listed_and_all_are_counted() -> None:
    strays = [intent(FIRST, id=f"pi_stray_{number}", metadata={}) for number in range(25)]
    unknown = judge_snapshot(ledger(*strays), books()).invariants[4]
    assert unknown.name == "I5"
    assert len(unknown.violations) == 20
    assert unknown.total_violations == 25


def test_currencies_that_stripe_counts_its_own_way_agree() -> None:
    for currency, owed, charged in (
        ("ISK", 500, 50_000),
        ("UGX", 3, 300),
        ("MGA", 700, 7),
        ("JPY", 500, 500),
    ):
        single = subscription(1, amount_minor=owed, currency=currency, ends_at=FIRST.period_end)
        paid = replace(FIRST, currency=currency, amount_minor=owed)
        here = books(subscriptions={single.id: single}, invoices=(paid,))
        there = intent(paid, amount=charged, amount_received=charged)
        assert judge_snapshot(Ledger({there.id: there}), here).holds, currency
        unscaled = replace(there, amount=charged + 1, amount_received=charged + 1)
        assert broken(judge_snapshot(Ledger({there.id: unscaled}), here)) == {"I2", "I9"}, currency


def test_the_verdict_is_plain_json() -> None:
    import json

    content = json.loads(json.dumps(judge_snapshot(ledger(), books(write_runs=None)).to_json()))
    assert content["holds"] is False
    assert content["invariants"][3]["violations"][0]["subject"] == "database"
    assert content["business_now"] == "2026-04-15T12:00:00+00:00"
