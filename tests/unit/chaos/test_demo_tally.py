"""The demo's own sum over the clock and the cards, and what becomes of a run that it does not like."""

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from tests.support.doctored import INVOICES, SUBSCRIPTIONS, books, intent, ledger

from chaos.demo.population import subscribers
from chaos.demo.scenario import Scenario
from chaos.demo.stage import Outcome
from chaos.demo.tally import Tally, tally
from chaos.judge.judging import judge_snapshot
from chaos.judge.verdict import Finding
from chaos.report import run_summary

ALL_GOOD = {each.id: False for each in SUBSCRIPTIONS}
FIRST = SUBSCRIPTIONS[0].id


def test_three_periods_of_two_good_cards_are_six_charges() -> None:
    assert tally(ledger(), books(), ALL_GOOD) == Tally(6, 6, (), 0)


def test_a_period_that_was_not_charged_is_missed_even_if_the_books_call_it_uncollectible() -> None:
    lost = INVOICES[1]
    told = tally(ledger(without=lost.payment_intent_id or ""), books(), ALL_GOOD)
    assert (told.charges_expected, told.charges_made, told.is_exact) == (6, 5, False)
    assert told.wrong == (
        Finding(FIRST, "charged 2 times: by the clock 3 periods fell due, and its card is good"),
    )


def test_a_period_that_was_charged_twice_is_found() -> None:
    told = tally(ledger(intent(INVOICES[0], id="pi_again")), books(), ALL_GOOD)
    assert (told.charges_made, told.total_wrong) == (7, 1)


def test_one_that_was_charged_too_often_does_not_make_up_for_one_charged_too_seldom() -> None:
    twice = intent(INVOICES[0], id="pi_again")
    told = tally(ledger(twice, without=INVOICES[-1].payment_intent_id or ""), books(), ALL_GOOD)
    assert told.charges_expected == told.charges_made
    assert told.total_wrong == 2


def test_a_card_that_declines_must_not_be_charged() -> None:
    told = tally(ledger(), books(), ALL_GOOD | {FIRST: True})
    assert (told.charges_expected, told.total_wrong) == (3, 1)
    assert told.wrong[0].detail.endswith("and its card declines")


def test_an_acknowledged_subscription_that_the_books_lost_is_found() -> None:
    told = tally(ledger(), books(), ALL_GOOD | {"sub_lost": False})
    assert told.wrong == (Finding("sub_lost", "was acknowledged, and is not in the books"),)


def test_subscriptions_of_an_earlier_run_are_left_out() -> None:
    assert tally(ledger(), books(), {FIRST: False}) == Tally(3, 3, (), 0)


def test_some_cards_of_a_crowd_decline() -> None:
    declining = sum(draft.declines for draft in subscribers(2000, 1))
    assert 20 < declining < 120


def outcome(**changes: Any) -> Outcome:
    """A run of two subscribers in which all went well."""
    clean = Outcome(
        verdict=judge_snapshot(ledger(), books(), require_rest=True),
        tally=Tally(6, 6, (), 0),
        scenario=Scenario(subscribers=2, duration_s=30),
        subscribed=2,
        canceled=0,
        ran_s=30.0,
        rested_s=0.5,
        left_moving="",
        charged_per_s_peak=100.0,
        takeovers=(),
        stopped_early=False,
    )
    return replace(clean, **changes)


def summary(of: Outcome) -> str:
    shown = io.StringIO()
    Console(width=120, file=shown).print(run_summary(of))
    return shown.getvalue()


def test_a_run_in_which_all_went_well_holds_and_says_the_sum() -> None:
    assert outcome().holds
    assert "by the clock and the cards 6 charges, and 6 were made" in summary(outcome())
    assert outcome().to_json()["run"]["tally"]["is_exact"]


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"verdict": judge_snapshot(ledger(without=INVOICES[0].payment_intent_id or ""), books())}, ""),
        (
            {"tally": Tally(6, 5, (Finding(FIRST, "charged 2 times"),), 1)},
            "charged too often or too seldom: 1",
        ),
        ({"subscribed": 1}, "1 could not subscribe"),
    ],
)
def test_a_run_does_not_hold_and_says_why(changes: dict[str, Any], complaint: str) -> None:
    assert not outcome(**changes).holds
    assert complaint in summary(outcome(**changes))


def test_who_stops_a_run_early_wants_no_more_subscribers() -> None:
    assert outcome(subscribed=1, stopped_early=True).holds
