"""What each outcome settles, and how dunning goes on."""

from datetime import timedelta

import pytest

from middleman.domain.attempts import (
    AttemptStatus,
    Declined,
    InvoiceStatus,
    RequiresAction,
    Settlement,
    SubscriptionStatus,
    Succeeded,
    settle,
)
from middleman.domain.dunning import HARD_DECLINE_CODES, DunningPolicy
from middleman.domain.ids import ChargeId

POLICY = DunningPolicy()
SOFT = Declined("card_declined", "insufficient_funds")


def _days(declined: Declined, attempt_no: int = 1) -> int | None:
    delay = settle(declined, attempt_no=attempt_no, policy=POLICY).next_attempt_after
    return None if delay is None else delay.days


def test_success_pays_the_invoice_and_ends_dunning() -> None:
    for attempt_no in (1, 5):
        assert settle(Succeeded(ChargeId("ch_1")), attempt_no=attempt_no, policy=POLICY) == Settlement(
            AttemptStatus.SUCCEEDED, InvoiceStatus.PAID, None, SubscriptionStatus.ACTIVE
        )


def test_a_first_decline_keeps_the_invoice_open_for_another_attempt() -> None:
    assert settle(SOFT, attempt_no=1, policy=POLICY) == Settlement(
        AttemptStatus.DECLINED, InvoiceStatus.OPEN, timedelta(days=1), SubscriptionStatus.PAST_DUE
    )


def test_attempts_follow_each_other_after_1_3_5_and_7_days_and_then_no_more() -> None:
    assert [_days(SOFT, attempt_no) for attempt_no in range(1, 8)] == [1, 3, 5, 7, None, None, None]


def test_when_dunning_has_ended_the_invoice_is_uncollectible() -> None:
    assert settle(SOFT, attempt_no=5, policy=POLICY) == Settlement(
        AttemptStatus.DECLINED, InvoiceStatus.UNCOLLECTIBLE, None, SubscriptionStatus.CANCELED
    )


def test_authentication_waits_for_the_customer_without_further_attempts() -> None:
    assert settle(RequiresAction(), attempt_no=1, policy=POLICY) == Settlement(
        AttemptStatus.REQUIRES_ACTION, InvoiceStatus.REQUIRES_ACTION, None, SubscriptionStatus.PAST_DUE
    )


@pytest.mark.parametrize(
    "outcome", [SOFT, Declined("card_declined", "stolen_card"), RequiresAction()], ids=str
)
def test_a_no_to_a_card_that_was_replaced_meanwhile_ends_nothing(outcome: Declined | RequiresAction) -> None:
    settlement = settle(outcome, attempt_no=5, policy=POLICY)
    assert settlement.another_card_may_pay
    assert settlement.retried_at_once() == Settlement(
        settlement.attempt_status, InvoiceStatus.OPEN, timedelta(0), SubscriptionStatus.PAST_DUE
    )


def test_another_card_pays_no_intent_that_is_paid_or_canceled() -> None:
    for outcome in (Succeeded(ChargeId("ch_1")), Declined.because_canceled()):
        assert not settle(outcome, attempt_no=1, policy=POLICY).another_card_may_pay


def test_a_canceled_intent_is_final_and_says_so() -> None:
    assert settle(Declined.because_canceled(), attempt_no=1, policy=POLICY) == Settlement(
        AttemptStatus.CANCELED, InvoiceStatus.UNCOLLECTIBLE, None, SubscriptionStatus.CANCELED
    )


@pytest.mark.parametrize("decline_code", sorted(HARD_DECLINE_CODES))
def test_a_hard_decline_ends_dunning_at_once(decline_code: str) -> None:
    assert _days(Declined("card_declined", decline_code)) is None
    assert _days(Declined(decline_code)) is None


def test_the_networks_no_outranks_a_soft_decline_code() -> None:
    assert _days(Declined("card_declined", "insufficient_funds", "do_not_try_again")) is None


@pytest.mark.parametrize("advice_code", ["try_again_later", "confirm_card_data"])
def test_the_networks_yes_outranks_a_hard_decline_code(advice_code: str) -> None:
    assert _days(Declined("card_declined", "transaction_not_allowed", advice_code)) == 1


def test_advice_that_nobody_knows_leaves_the_word_to_the_decline_code() -> None:
    assert _days(Declined("card_declined", "lost_card", "ask_again_nicely")) is None
    assert _days(Declined("card_declined", "insufficient_funds", "ask_again_nicely")) == 1


def test_a_policy_without_retries_ends_with_the_first_decline() -> None:
    settlement = settle(SOFT, attempt_no=1, policy=DunningPolicy(()))
    assert settlement.invoice_status is InvoiceStatus.UNCOLLECTIBLE


def test_a_retry_at_once_is_no_retry_schedule() -> None:
    with pytest.raises(ValueError, match="after the decline"):
        DunningPolicy((timedelta(days=1), timedelta(0)))


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="counts from 1"):
        settle(SOFT, attempt_no=0, policy=POLICY)
