"""What Stripe's refusals and failures mean for a caller. One table, in this order:

======================================  =====================  ============================
Stripe says                             on the first send      on a repeat
======================================  =====================  ============================
no connection                           NotSent                NotSent (of this call)
timeout, reset, truncated answer        Unknown                Unknown
5xx, 424, 408                           Unknown                Unknown
an answer that does not parse or fit    Unknown                Unknown
409 (key in use)                        Unknown                Unknown
429                                     NotSent(rate_limited)  Unknown(rate_limited)
401, 403                                NotSent                Unknown
`idempotency_error` (400)               Unknown                Unknown
`payment_intent_unexpected_state`       Unknown                Unknown
402, where a card can be declined       Declined, or RequiresAction for `authentication_required`
any other 4xx                           Refused                Refused (of this call)
======================================  =====================  ============================

401 and 403 are the operator's trouble, not the customer's: nothing was executed, and nobody is declined for it.
`idempotency_error` means that the key was used with other parameters, so something *was* executed under it.
Sources: https://docs.stripe.com/error-codes, https://docs.stripe.com/api/idempotent_requests.
"""

from collections.abc import Mapping
from typing import Any

import stripe

from middleman.adapters.stripe.connection import never_sent
from middleman.adapters.stripe.texts import identifier, text
from middleman.domain.attempts import Declined, RequiresAction, Unknown
from middleman.domain.ids import ChargeId
from middleman.domain.intents import AUTHENTICATION_REQUIRED
from middleman.ports.processor import (
    CONNECTION_LOST,
    NO_CONNECTION,
    RATE_LIMITED,
    REMEMBERED_FAILURE,
    TIMEOUT,
    NotSent,
    Refused,
)

UNEXPECTED_STATE = "payment_intent_unexpected_state"
_REPLAYED = "idempotent-replayed"


def from_connection_error(error: stripe.APIConnectionError) -> NotSent | Unknown:
    """A network failure: the cause tells whether the request can have been executed."""
    cause = type(error.__cause__).__name__
    if never_sent(error):
        return NotSent(NO_CONNECTION, detail=cause)
    return Unknown(TIMEOUT if isinstance(error.__cause__, TimeoutError) else CONNECTION_LOST, cause)


def from_error(error: stripe.StripeError, *, repeat: bool) -> Refused | Unknown | NotSent:
    """Any answer with an error status that is no decline."""
    status = error.http_status or 0
    body = error_body(error)
    code = text(body.get("code")) or text(body.get("type")) or f"http_{status}"
    message = text(body.get("message")) or ""
    if status == 429:
        return _rate_limited(error, repeat=repeat)
    if status in (401, 403):
        # Stripe's message quotes the key, masked; ours does not quote it at all.
        detail = f"the processor answered {status}: check STRIPE_API_KEY and its permissions"
        return Unknown("not_authorized", detail) if repeat else NotSent("not_authorized", detail=detail)
    if status == 409:
        return Unknown("key_in_use", code)
    if status >= 500 or status in (408, 424):
        replayed = header(error, _REPLAYED) == "true"
        return Unknown(REMEMBERED_FAILURE if replayed else "server_error", f"http {status}")
    if body.get("type") == "idempotency_error":
        return Unknown("idempotency_error", message)
    if code == UNEXPECTED_STATE:
        return Unknown("unexpected_state", message)
    if not 400 <= status < 500 or not body:
        return Unknown("garbled", f"http {status}")
    return Refused(code, message, text(body.get("param")))


def decline(error: stripe.StripeError) -> Declined | RequiresAction | None:
    """The decline that a 402 tells, or None when the error is no decline."""
    declined = card_error(error)
    if declined is None:
        return None
    if AUTHENTICATION_REQUIRED in (declined.code, declined.decline_code):
        return RequiresAction(AUTHENTICATION_REQUIRED, declined.charge_id, declined.message)
    return declined


def card_error(error: stripe.StripeError) -> Declined | None:
    """What a 402 says about the card, or None when the error is no 402."""
    body = error_body(error)
    return parse_decline(body) if error.http_status == 402 and body else None


def is_missing(error: stripe.StripeError) -> bool:
    """Whether what was asked for does not exist."""
    return error.http_status == 404 and error_body(error).get("code") == "resource_missing"


def is_unexpected_state(error: stripe.StripeError) -> bool:
    """Whether the intent is in no state for what was asked: paid, canceled or processing."""
    return error_body(error).get("code") == UNEXPECTED_STATE


def parse_decline(body: Mapping[str, Any]) -> Declined:
    """Stripe's error object (of a 402, or an intent's `last_payment_error`)."""
    charge = identifier(body.get("charge"))
    return Declined(
        code=text(body.get("code")) or text(body.get("type")) or "card_error",
        decline_code=text(body.get("decline_code")),
        advice_code=text(body.get("advice_code")),
        charge_id=ChargeId(charge) if charge else None,
        message=text(body.get("message")) or "",
    )


def error_body(error: stripe.StripeError) -> Mapping[str, Any]:
    """Stripe's `error` object; empty where the answer has none."""
    body = error.json_body
    inner = body.get("error") if isinstance(body, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}


def header(error: stripe.StripeError, name: str) -> str | None:
    """A header of the answer, whatever its case."""
    headers = error.headers or {}
    return next((str(value) for key, value in headers.items() if key.lower() == name), None)


def _rate_limited(error: stripe.StripeError, *, repeat: bool) -> NotSent | Unknown:
    reason = header(error, "stripe-rate-limited-reason") or "no reason given"
    if repeat:
        return Unknown(RATE_LIMITED, reason)
    return NotSent(RATE_LIMITED, _seconds(header(error, "retry-after")), reason)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None  # the header may also be a date, which Stripe does not use
    return value if value is not None and 0 <= value < float("inf") else None
