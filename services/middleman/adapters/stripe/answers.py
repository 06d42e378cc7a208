"""What Stripe's refusals and failures mean for a caller. One table, in this order:

======================================  =====================  ============================
Stripe says                             on the first send      on a repeat
======================================  =====================  ============================
no connection                           NotSent                NotSent (of this call)
none, as our proxy refuses us           OperatorFault          OperatorFault (of this call)
timeout, reset, truncated answer        Unknown                Unknown
5xx, 424, 408                           Unknown                Unknown
a 2xx that does not parse or fit        Unknown                Unknown
409 (key in use)                        Unknown                Unknown
429                                     NotSent                Unknown
`idempotency_error` (400)               Unknown                Unknown
`payment_intent_unexpected_state`       Unknown                Unknown
402, where a card can be declined       Declined, or RequiresAction for `authentication_required`
400 or 404 that concerns the payer      Refused                Refused (of this call)
everything else, with or without JSON   OperatorFault          OperatorFault (of this call)
======================================  =====================  ============================

A 429 tells for whom it is by `Stripe-Rate-Limited-Reason`: for one object (`lock_timeout`), for the account
(`global-…`), else for the endpoint. What concerns the payer stands in `middleman.adapters.stripe.refusals`. 401 and 403
are the operator's: nothing was executed, and nobody is declined for it.
`idempotency_error` means that the key was used with other parameters, so something *was* executed under it.
Sources: https://docs.stripe.com/error-codes, https://docs.stripe.com/api/idempotent_requests,
https://docs.stripe.com/rate-limits.
"""

import re
from collections.abc import Mapping
from typing import Any

import stripe

from middleman.adapters.stripe.connection import never_sent, refused_by_proxy
from middleman.adapters.stripe.refusals import concerns_callers_value, concerns_payer, is_decline
from middleman.adapters.stripe.texts import identifier, text
from middleman.domain.attempts import Declined, RequiresAction, Unknown
from middleman.domain.ids import ChargeId
from middleman.domain.intents import AUTHENTICATION_REQUIRED
from middleman.ports.processor import (
    ACCOUNT_RATE_LIMITED,
    CONNECTION_LOST,
    NO_CONNECTION,
    OBJECT_BUSY,
    RATE_LIMITED,
    REMEMBERED_FAILURE,
    TIMEOUT,
    NotSent,
    OperatorFault,
    Refused,
)

UNEXPECTED_STATE = "payment_intent_unexpected_state"
_REPLAYED = "idempotent-replayed"
_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")
_OF_ONE_OBJECT = frozenset({"lock_timeout", "resource-specific"})


def from_connection_error(error: stripe.APIConnectionError) -> NotSent | OperatorFault | Unknown:
    """A network failure: the cause tells whether the request can have been executed."""
    if (refusal := refused_by_proxy(error)) is not None:
        return OperatorFault("proxy_refused", f"{refusal}: check MIDDLEMAN_STRIPE_PROXY or HTTPS_PROXY")
    cause = type(error.__cause__).__name__
    if never_sent(error):
        return NotSent(NO_CONNECTION, detail=cause)
    return Unknown(TIMEOUT if isinstance(error.__cause__, TimeoutError) else CONNECTION_LOST, cause)


def from_error(
    error: stripe.StripeError, *, repeat: bool, callers: tuple[str, ...] = ()
) -> Refused | OperatorFault | Unknown | NotSent:
    """Any answer with an error status that is no decline. `callers`: the parameters that our API's caller chose."""
    status = error.http_status or 0
    body = error_body(error)
    code = text(body.get("code")) or text(body.get("type")) or f"http_{status}"
    message = text(body.get("message")) or ""
    replayed = header(error, _REPLAYED) == "true"
    if status == 429:
        return _rate_limited(error, repeat=repeat)
    if status in (401, 403):
        # Stripe's message quotes the key, masked; ours does not quote it at all.
        return OperatorFault(
            "not_authorized", f"the processor answered {status}: check STRIPE_API_KEY and its permissions"
        )
    if status == 409:
        return Unknown("key_in_use", code)
    if status >= 500 or status in (408, 424):
        return Unknown(REMEMBERED_FAILURE if replayed else "server_error", f"http {status}")
    if body.get("type") == "idempotency_error":
        return Unknown("idempotency_error", message)
    if code == UNEXPECTED_STATE:
        return Unknown("unexpected_state", message)
    if not 300 <= status < 500:
        return Unknown("garbled", f"http {status}")
    if status in (400, 402, 404) and (concerns_payer(body) or concerns_callers_value(body, callers)):
        return Refused(code, message, text(body.get("param")), replayed)
    return _operator_fault(error, status, body, replayed)


def from_read_error(error: stripe.StripeError) -> OperatorFault | Unknown | NotSent:
    """The same for a request that changes nothing: it has no payer whom a refusal could concern."""
    answer = from_error(error, repeat=False)
    return OperatorFault(answer.code, answer.message) if isinstance(answer, Refused) else answer


def decline(error: stripe.StripeError) -> Declined | RequiresAction | None:
    """The decline that a 402 tells, or None when the error is no decline."""
    declined = card_error(error)
    if declined is None:
        return None
    if AUTHENTICATION_REQUIRED in (declined.code, declined.decline_code):
        return RequiresAction(AUTHENTICATION_REQUIRED, declined.charge_id, declined.message)
    return declined


def card_error(error: stripe.StripeError) -> Declined | None:
    """What a 402 says about the card, or None when the error is no 402, or says nothing about a card."""
    body = error_body(error)
    return parse_decline(body) if error.http_status == 402 and is_decline(body) else None


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


def _operator_fault(
    error: stripe.StripeError, status: int, body: Mapping[str, Any], replayed: bool
) -> OperatorFault:
    """What concerns nobody but us, named by few words: the code becomes a metric's label."""
    codes = (text(body.get(key)) for key in ("code", "type"))
    code = next((code for code in codes if code and _CODE.fullmatch(code)), f"http_{status}")
    message = (
        text(body.get("message")) or f"the answer is not the processor's: http {status}, no error object"
    )
    param = text(body.get("param"))
    return OperatorFault(code, f"{message} (param: {param})" if param else message, replayed)


def _rate_limited(error: stripe.StripeError, *, repeat: bool) -> NotSent | Unknown:
    why = header(error, "stripe-rate-limited-reason") or text(error_body(error).get("code")) or ""
    if why in _OF_ONE_OBJECT or error_body(error).get("code") == "lock_timeout":
        reason = OBJECT_BUSY
    else:
        reason = ACCOUNT_RATE_LIMITED if why.startswith("global-") else RATE_LIMITED
    detail = why or "no reason given"
    if repeat:
        return Unknown(reason, detail)
    return NotSent(reason, _seconds(header(error, "retry-after")), detail)


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None  # the header may also be a date, which Stripe does not use
    return value if value is not None and 0 <= value < float("inf") else None
