"""Which of Stripe's refusals concern the payer. Everything that is not listed here concerns the operator.

The list is short on purpose. A payer's refusal that is missing here leaves one attempt open, with an alert. An
operator's fault that stood here would end subscriptions, and no bank was ever asked.

============================================  ==========================================================
400 or 404 with the code                      concerns
============================================  ==========================================================
`resource_missing` of `customer` or           the customer or the payment method was deleted at Stripe. Not of
`payment_method`                              the intent in the path, and not where "a similar object exists"
                                              in the other mode: there the key is the wrong one
`amount_too_small`, `amount_too_large`        the amount
`charge_exceeds_source_limit`                 the payment method's limit
`customer_max_payment_methods`                the customer, who has too many payment methods
`email_invalid`                               the address that the caller of our API gave
`token_already_used`                          the payment method that the caller gave
`payment_method_unexpected_state`,            the payment method: its state, its currency, its kind
`payment_method_currency_mismatch`,
`payment_method_customer_decline`,
`payment_method_provider_decline`,
`expired_payment_method`
codes of a card (`card_declined`, …)          the card; they come with 402, and count where they come with 400
no code, but one of two sentences             a payment method that was used up or detached, or that another
                                              customer has: Stripe gives no code for these
============================================  ==========================================================

Sources: https://docs.stripe.com/error-codes, https://docs.stripe.com/api/errors. A 402 of the type `card_error` is a
decline (https://docs.stripe.com/error-handling#payment-errors). Stripe may answer 402 for an account that may not
charge as well, so a 402 of another type needs a code from the list.
"""

from collections.abc import Mapping
from typing import Any

_CARD_CODES = frozenset(
    {
        "authentication_required",
        "card_decline_rate_limit_exceeded",
        "card_declined",
        "expired_card",
        "incorrect_address",
        "incorrect_cvc",
        "incorrect_number",
        "incorrect_postal_code",
        "incorrect_zip",
        "insufficient_funds",
        "invalid_card_type",
        "invalid_cvc",
        "invalid_expiry_month",
        "invalid_expiry_year",
        "invalid_number",
        "payment_intent_authentication_failure",
        "payment_intent_payment_attempt_failed",
        "processing_error",
    }
)

PAYER_CODES = _CARD_CODES | {
    "amount_too_large",
    "amount_too_small",
    "charge_exceeds_source_limit",
    "customer_max_payment_methods",
    "email_invalid",
    "expired_payment_method",
    "payment_method_currency_mismatch",
    "payment_method_customer_decline",
    "payment_method_provider_decline",
    "payment_method_unexpected_state",
    "token_already_used",
}

_OPERATOR_CODES = frozenset({"testmode_charges_only", "livemode_mismatch", "account_invalid"})
"""Never a decline, whatever the type of the error: the account, or the mode of the key."""

_PAYERS_OBJECTS = frozenset({"customer", "payment_method"})
_OTHER_MODE = "a similar object exists in"
_CODELESS = (
    "It may not be used again",
    "and may not be used again",
    "has already been attached to a customer",
)

_MALFORMED_CODES = frozenset(
    {
        "invalid_characters",
        "parameter_invalid_empty",
        "parameter_invalid_string_blank",
        "parameter_invalid_string_empty",
    }
)


def concerns_payer(body: Mapping[str, Any]) -> bool:
    """Whether Stripe's error object of a 400, 402 or 404 is about this customer, payment method or amount."""
    code, message = body.get("code"), body.get("message")
    words = message if isinstance(message, str) else ""
    if code == "resource_missing":
        return body.get("param") in _PAYERS_OBJECTS and _OTHER_MODE not in words
    if code is None:
        return any(sentence in words for sentence in _CODELESS)
    return code in PAYER_CODES


def concerns_callers_value(body: Mapping[str, Any], params: tuple[str, ...]) -> bool:
    """Whether it is about the value of a parameter that the caller of our API chose, and not about the parameter."""
    param, code = body.get("param"), body.get("code")
    named = isinstance(param, str) and param.partition("[")[0] in params
    return named and (code is None or code in _MALFORMED_CODES)


def is_decline(body: Mapping[str, Any]) -> bool:
    """Whether Stripe's error object, of a 402 or an intent's last, is a decline of the payment method."""
    if body.get("code") in _OPERATOR_CODES:
        return False
    return body.get("type") == "card_error" or concerns_payer(body)
