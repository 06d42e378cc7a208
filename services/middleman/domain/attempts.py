"""The payment attempt: its outcomes, and what each of them settles.

::

    outcome          attempt          invoice          subscription  dunning
    succeeded        succeeded        paid             active
    declined         declined         open             past_due      goes on
    declined         declined         uncollectible    canceled      has ended
    intent canceled  canceled         uncollectible    canceled      has ended
    requires_action  requires_action  requires_action  past_due      waits for the customer
    declined, requires_action
      (card replaced
      meanwhile)     as above         open             past_due      goes on at once
    unknown          open: it is resolved by reading the payment intent, never by a timer

Replacing the payment method also plans the next attempt of what waits for the customer or for dunning
(`middleman.adapters.postgres.replacements`). What waits for the customer, for dunning or for nothing more can still be
paid or canceled at the processor: the leader then opens one more attempt, which reads and settles as above
(`middleman.billing.noticing`).

`settle` takes a `DefiniteOutcome`, so that settling an unknown one does not even type-check.
"""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import assert_never

from middleman.domain.dunning import DO_NOT_TRY_AGAIN, INTENT_CANCELED, DunningPolicy
from middleman.domain.ids import ChargeId


class AttemptStatus(StrEnum):
    OPEN = "open"
    SUCCEEDED = "succeeded"
    DECLINED = "declined"
    REQUIRES_ACTION = "requires_action"
    CANCELED = "canceled"


class InvoiceStatus(StrEnum):
    OPEN = "open"
    PAID = "paid"
    REQUIRES_ACTION = "requires_action"
    UNCOLLECTIBLE = "uncollectible"
    VOID = "void"


class SubscriptionStatus(StrEnum):
    ACTIVE = "active"
    PAST_DUE = "past_due"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The money moved. `charge_id` is the processor's charge that moved it."""

    charge_id: ChargeId


@dataclass(frozen=True, slots=True)
class Declined:
    """A definite no. `charge_id` names the failed charge; None where the processor made none."""

    code: str
    decline_code: str | None = None
    advice_code: str | None = None
    charge_id: ChargeId | None = None
    message: str = ""

    @classmethod
    def because_canceled(cls) -> "Declined":
        """The payment intent was canceled: it can never succeed any more."""
        return cls(
            code=INTENT_CANCELED, advice_code=DO_NOT_TRY_AGAIN, message="the payment intent was canceled"
        )


@dataclass(frozen=True, slots=True)
class RequiresAction:
    """The customer has to come back and authenticate; no attempt of ours can replace that."""

    code: str = "authentication_required"
    charge_id: ChargeId | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Unknown:
    """It may have been executed, and it may not. Read the payment intent to find out.

    `reason` is one of few words, fit for a metric's label; `detail` is for the log.
    """

    reason: str
    detail: str = ""


DefiniteOutcome = Succeeded | Declined | RequiresAction
Outcome = DefiniteOutcome | Unknown


@dataclass(frozen=True, slots=True)
class Settlement:
    """What to record for an outcome.

    `next_attempt_after` counts from the database's time of settling; None means that dunning plans nothing.
    `subscription_status` holds unless the subscription was canceled meanwhile: that is never undone.
    """

    attempt_status: AttemptStatus
    invoice_status: InvoiceStatus
    next_attempt_after: timedelta | None
    subscription_status: SubscriptionStatus

    @property
    def another_card_may_pay(self) -> bool:
        """Whether the no was to the payment method. A paid or canceled intent takes no other one."""
        return self.attempt_status in (AttemptStatus.DECLINED, AttemptStatus.REQUIRES_ACTION)

    def retried_at_once(self) -> "Settlement":
        """The same attempt where the customer has replaced its payment method meanwhile: the new one is tried now.

        It also holds where dunning would have ended: the no was to the old payment method.
        """
        return Settlement(self.attempt_status, InvoiceStatus.OPEN, timedelta(0), SubscriptionStatus.PAST_DUE)


def settle(outcome: DefiniteOutcome, *, attempt_no: int, policy: DunningPolicy) -> Settlement:
    """What follows from the outcome of attempt `attempt_no` (from 1) under the dunning `policy`."""
    match outcome:
        case Succeeded():
            return Settlement(AttemptStatus.SUCCEEDED, InvoiceStatus.PAID, None, SubscriptionStatus.ACTIVE)
        case RequiresAction():
            return Settlement(
                AttemptStatus.REQUIRES_ACTION,
                InvoiceStatus.REQUIRES_ACTION,
                None,
                SubscriptionStatus.PAST_DUE,
            )
        case Declined():
            return _settle_decline(outcome, attempt_no, policy)
        case _:
            assert_never(outcome)


def _settle_decline(declined: Declined, attempt_no: int, policy: DunningPolicy) -> Settlement:
    canceled = declined.code == INTENT_CANCELED
    status = AttemptStatus.CANCELED if canceled else AttemptStatus.DECLINED
    delay = policy.next_attempt_after(
        attempt_no=attempt_no,
        code=declined.code,
        decline_code=declined.decline_code,
        advice_code=declined.advice_code,
    )
    if delay is None:
        return Settlement(status, InvoiceStatus.UNCOLLECTIBLE, None, SubscriptionStatus.CANCELED)
    return Settlement(status, InvoiceStatus.OPEN, delay, SubscriptionStatus.PAST_DUE)
