"""Dunning: when, and whether, a declined invoice is attempted again.

Sources: https://docs.stripe.com/declines/codes (advice codes) and
https://docs.stripe.com/billing/revenue-recovery/smart-retries (decline codes that are never retried).
"""

from dataclasses import dataclass
from datetime import timedelta

DO_NOT_TRY_AGAIN = "do_not_try_again"
CONFIRM_CARD_DATA = "confirm_card_data"
TRY_AGAIN_LATER = "try_again_later"

HARD_DECLINE_CODES = frozenset(
    {
        "authentication_required",
        "highest_risk_level",
        "incorrect_number",
        "lost_card",
        "pickup_card",
        "revocation_of_all_authorizations",
        "revocation_of_authorization",
        "stolen_card",
        "transaction_not_allowed",
    }
)
"""The issuer will say no for ever, and the card networks fine those who keep asking."""

INTENT_CANCELED = "payment_intent_canceled"
"""Not the processor's word but ours: the payment intent was canceled, the invoice cannot be paid any more."""


@dataclass(frozen=True, slots=True)
class DunningPolicy:
    """How long after the decline of attempt n attempt n + 1 falls due; nothing follows the last delay."""

    retry_after: tuple[timedelta, ...] = (
        timedelta(days=1),
        timedelta(days=3),
        timedelta(days=5),
        timedelta(days=7),
    )

    def __post_init__(self) -> None:
        for delay in self.retry_after:
            if delay <= timedelta(0):
                raise ValueError(f"a retry must lie after the decline, got a delay of {delay}")

    def next_attempt_after(
        self, *, attempt_no: int, code: str, decline_code: str | None, advice_code: str | None
    ) -> timedelta | None:
        """The delay from the decline of attempt `attempt_no` (from 1) to the next; None: dunning ends."""
        if attempt_no < 1:
            raise ValueError(f"attempt_no counts from 1, got {attempt_no}")
        if is_final(code=code, decline_code=decline_code, advice_code=advice_code):
            return None
        if attempt_no > len(self.retry_after):
            return None
        return self.retry_after[attempt_no - 1]


def is_final(*, code: str, decline_code: str | None, advice_code: str | None) -> bool:
    """Whether no further attempt may follow this decline. The network's advice outranks the decline code."""
    if code == INTENT_CANCELED:
        return True
    if advice_code == DO_NOT_TRY_AGAIN:
        return True
    if advice_code in (TRY_AGAIN_LATER, CONFIRM_CARD_DATA):
        return False
    return code in HARD_DECLINE_CODES or decline_code in HARD_DECLINE_CODES
