"""What a payment intent tells about the open attempt."""

import pytest

from middleman.domain.attempts import Declined, Outcome, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import ChargeId, PaymentIntentId
from middleman.domain.intents import IntentSnapshot, IntentStatus, NotExecuted, resolve
from middleman.domain.money import Money

CH1, CH2 = ChargeId("ch_1"), ChargeId("ch_2")


def _intent(
    status: IntentStatus, latest_charge: ChargeId | None = None, decline: Declined | None = None
) -> IntentSnapshot:
    return IntentSnapshot(
        PaymentIntentId("pi_1"),
        status,
        Money(1999, "EUR"),
        latest_charge_id=latest_charge,
        last_decline=decline,
    )


UNPAID = IntentStatus.REQUIRES_PAYMENT_METHOD


def _declined(charge: ChargeId | None, code: str = "card_declined") -> Declined:
    return Declined(code, "insufficient_funds", charge_id=charge)


@pytest.mark.parametrize("status", [UNPAID, IntentStatus.REQUIRES_CONFIRMATION])
def test_an_intent_without_a_trace_was_not_confirmed(status: IntentStatus) -> None:
    assert resolve(_intent(status), ()) == NotExecuted()


def test_a_succeeded_intent_is_success_whoever_confirmed_it() -> None:
    assert resolve(_intent(IntentStatus.SUCCEEDED, CH2), (CH1,)) == Succeeded(CH2)


def test_a_new_failed_charge_is_the_decline_of_the_open_attempt() -> None:
    assert resolve(_intent(UNPAID, CH2, _declined(CH2)), (CH1,)) == _declined(CH2)


def test_a_failed_charge_of_an_earlier_attempt_says_that_this_one_was_not_executed() -> None:
    assert resolve(_intent(UNPAID, CH1, _declined(CH1)), (CH1,)) == NotExecuted()


def test_a_decline_without_a_charge_is_new_while_none_such_was_settled() -> None:
    assert resolve(_intent(UNPAID, None, _declined(None)), ()) == _declined(None)
    assert resolve(_intent(UNPAID, CH1, _declined(None)), (CH1,)) == _declined(None)


def test_a_decline_without_a_charge_after_another_such_is_settled_by_repeating() -> None:
    assert resolve(_intent(UNPAID, None, _declined(None)), (None,)) == NotExecuted()


def test_a_new_failed_charge_without_its_reason_is_booked_as_nothing() -> None:
    unresolved = resolve(_intent(UNPAID, CH2), (CH1,))
    assert isinstance(unresolved, Unknown)
    assert unresolved.reason == "failed_without_reason"
    assert resolve(_intent(UNPAID, CH1), (CH1,)) == NotExecuted()


def test_an_unpaid_intent_that_wants_authentication_requires_action() -> None:
    decline = _declined(CH1, "authentication_required")
    assert resolve(_intent(UNPAID, CH1, decline), ()) == RequiresAction("authentication_required", CH1)


@pytest.mark.parametrize(
    ("intent", "outcome"),
    [
        (_intent(IntentStatus.REQUIRES_ACTION, CH1), RequiresAction(charge_id=CH1)),
        (_intent(IntentStatus.CANCELED), Declined.because_canceled()),
        (_intent(IntentStatus.CANCELED, CH1, _declined(CH1)), Declined.because_canceled()),
        (_intent(IntentStatus.PROCESSING), Unknown("processing")),
        (_intent(IntentStatus.REQUIRES_CAPTURE, CH1), Unknown("requires_capture")),
    ],
)
def test_every_other_status_speaks_for_itself(intent: IntentSnapshot, outcome: Outcome) -> None:
    assert resolve(intent, ()) == outcome


@pytest.mark.parametrize("charge", [None, CH1])
def test_the_authentication_that_an_earlier_attempt_asked_for_does_not_settle_the_open_one(
    charge: ChargeId | None,
) -> None:
    waits = _intent(IntentStatus.REQUIRES_ACTION, charge)
    assert resolve(waits, (charge,)) == NotExecuted()
    assert resolve(waits, (CH2,)) == RequiresAction(charge_id=charge)


def test_success_without_a_charge_is_not_believed() -> None:
    assert isinstance(resolve(_intent(IntentStatus.SUCCEEDED), ()), Unknown)
