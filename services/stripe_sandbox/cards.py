"""Stripe's test cards: which token or number stands for which behaviour.

Source: https://docs.stripe.com/testing. The cards that decline do so when they are attached to a customer, too,
except `chargeCustomerFail` ("attaching this card to a Customer object succeeds, but attempts to charge the customer
fail") and those that ask for authentication. Advice codes: https://docs.stripe.com/declines/card.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decline:
    """Why an issuer says no, in Stripe's codes."""

    decline_code: str
    code: str = "card_declined"
    message: str = "Your card was declined."
    advice_code: str | None = "try_again_later"
    network_decline_code: str | None = "05"


GENERIC = Decline("generic_decline")
INSUFFICIENT_FUNDS = Decline(
    "insufficient_funds", message="Your card has insufficient funds.", network_decline_code="51"
)
LOST = Decline("lost_card", advice_code="do_not_try_again", network_decline_code="41")
STOLEN = Decline("stolen_card", advice_code="do_not_try_again", network_decline_code="43")
EXPIRED = Decline(
    "expired_card",
    code="expired_card",
    message="Your card has expired.",
    advice_code="confirm_card_data",
    network_decline_code="54",
)
INCORRECT_CVC = Decline(
    "incorrect_cvc",
    code="incorrect_cvc",
    message="Your card's security code is incorrect.",
    advice_code="confirm_card_data",
    network_decline_code="82",
)
PROCESSING_ERROR = Decline(
    "processing_error",
    code="processing_error",
    message="An error occurred while processing your card. Try again in a little bit.",
    network_decline_code="96",
)
VELOCITY = Decline(
    "card_velocity_exceeded",
    message="Your card was declined for making repeated attempts too frequently or exceeding its amount limit.",
    network_decline_code="65",
)
FRAUDULENT = Decline("fraudulent", advice_code="do_not_try_again", network_decline_code="59")
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    code="authentication_required",
    message="Your card was declined. This transaction requires authentication.",
    advice_code=None,
    network_decline_code=None,
)

KNOWN_DECLINES = {
    decline.decline_code: decline
    for decline in (
        GENERIC,
        INSUFFICIENT_FUNDS,
        LOST,
        STOLEN,
        EXPIRED,
        INCORRECT_CVC,
        PROCESSING_ERROR,
        VELOCITY,
        FRAUDULENT,
        AUTHENTICATION_REQUIRED,
    )
}


@dataclass(frozen=True, slots=True)
class Card:
    """What a card looks like and how its issuer answers: on being attached, on being charged, and whether it wants
    the customer to authenticate each payment."""

    brand: str
    last4: str
    funding: str = "credit"
    on_attach: Decline | None = None
    on_charge: Decline | None = None
    authenticates: bool = False


def _declining(brand: str, last4: str, decline: Decline) -> Card:
    return Card(brand, last4, on_attach=decline, on_charge=decline)


CARDS: dict[str, Card] = {
    "visa": Card("visa", "4242"),
    "visa_debit": Card("visa", "5556", "debit"),
    "mastercard": Card("mastercard", "4444"),
    "mastercard_debit": Card("mastercard", "8210", "debit"),
    "mastercard_prepaid": Card("mastercard", "5100", "prepaid"),
    "amex": Card("amex", "0005"),
    "discover": Card("discover", "1117"),
    "diners": Card("diners", "0004"),
    "jcb": Card("jcb", "0505"),
    "unionpay": Card("unionpay", "0005"),
    "chargeDeclined": _declining("visa", "0002", GENERIC),
    "chargeDeclinedInsufficientFunds": _declining("visa", "9995", INSUFFICIENT_FUNDS),
    "chargeDeclinedLostCard": _declining("visa", "9987", LOST),
    "chargeDeclinedStolenCard": _declining("visa", "9979", STOLEN),
    "chargeDeclinedExpiredCard": _declining("visa", "0069", EXPIRED),
    "chargeDeclinedIncorrectCvc": _declining("visa", "0127", INCORRECT_CVC),
    "chargeDeclinedProcessingError": _declining("visa", "0119", PROCESSING_ERROR),
    "chargeDeclinedVelocityLimitExceeded": _declining("visa", "6975", VELOCITY),
    "chargeDeclinedFraudulent": _declining("visa", "0019", FRAUDULENT),
    "chargeCustomerFail": Card("visa", "0341", on_charge=GENERIC),
    "authenticationRequired": Card("visa", "3184", authenticates=True),
}

_NUMBERS = {
    "4242424242424242": "visa",
    "4000056655665556": "visa_debit",
    "5555555555554444": "mastercard",
    "5200828282828210": "mastercard_debit",
    "5105105105105100": "mastercard_prepaid",
    "378282246310005": "amex",
    "6011111111111117": "discover",
    "3056930009020004": "diners",
    "3566002020360505": "jcb",
    "6200000000000005": "unionpay",
    "4000000000000002": "chargeDeclined",
    "4000000000009995": "chargeDeclinedInsufficientFunds",
    "4000000000009987": "chargeDeclinedLostCard",
    "4000000000009979": "chargeDeclinedStolenCard",
    "4000000000000069": "chargeDeclinedExpiredCard",
    "4000000000000127": "chargeDeclinedIncorrectCvc",
    "4000000000000119": "chargeDeclinedProcessingError",
    "4000000000006975": "chargeDeclinedVelocityLimitExceeded",
    "4100000000000019": "chargeDeclinedFraudulent",
    "4000000000000341": "chargeCustomerFail",
    "4000002760003184": "authenticationRequired",
}


def by_payment_method_token(token: str) -> str | None:
    """The card's name for `pm_card_…`, or None. Stripe writes some declines with `visa_` and some without: both work."""
    if not token.startswith("pm_card_"):
        return None
    name = token.removeprefix("pm_card_")
    if name in CARDS:
        return name
    return name.removeprefix("visa_") if name.removeprefix("visa_") in CARDS else None


def by_source_token(token: str) -> str | None:
    """The card's name for the older `tok_…`, or None."""
    return (
        by_payment_method_token("pm_card_" + token.removeprefix("tok_")) if token.startswith("tok_") else None
    )


def by_number(number: str) -> str | None:
    """The card's name for a test card's number (blanks and dashes allowed), or None."""
    return _NUMBERS.get(number.replace(" ", "").replace("-", ""))
