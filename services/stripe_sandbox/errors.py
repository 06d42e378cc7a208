"""Stripe's error answers: status, type, code and the words that its documentation and clients expect.

Source: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-codes.
"""

from typing import Any

DOC_URL = "https://stripe.com/docs/error-codes/"


class StripeError(Exception):
    """An answer with `status` >= 400 and Stripe's error body.

    `remembered` says whether an idempotency key keeps this answer: Stripe forgets what failed before execution
    began (validation, authentication, conflict, rate limit) and replays everything else.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        remembered: bool = True,
        headers: tuple[tuple[str, str], ...] = (),
        **details: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.remembered = remembered
        self.headers = headers
        error: dict[str, Any] = {"message": message, "type": kind}
        if code is not None:
            error["code"] = code
            error["doc_url"] = DOC_URL + code.replace("_", "-")
        if param is not None:
            error["param"] = param
        error.update(details)
        self.error = error

    def body(self) -> dict[str, Any]:
        """The JSON document of the answer: `{"error": {…}}`."""
        return {"error": self.error}


def refused(
    message: str, *, code: str | None = None, param: str | None = None, **details: Any
) -> StripeError:
    """400 from execution: the parameters are well-formed, the state of things forbids it. Kept under the key."""
    return StripeError(400, "invalid_request_error", message, code=code, param=param, **details)


def invalid(message: str, *, param: str | None, code: str | None = None) -> StripeError:
    """400 from validation: not kept under the key, so that a corrected repeat may use it."""
    return StripeError(400, "invalid_request_error", message, code=code, param=param, remembered=False)


def no_such(kind: str, object_id: str, *, param: str, in_path: bool = False) -> StripeError:
    """An id that is not known: 404 when it is the path's, 400 when it is a parameter's."""
    return StripeError(
        404 if in_path else 400,
        "invalid_request_error",
        f"No such {kind}: '{object_id}'",
        code="resource_missing",
        param=param,
    )


def unauthorized(message: str) -> StripeError:
    """401: no key or a wrong one."""
    return StripeError(
        401,
        "invalid_request_error",
        message,
        remembered=False,
        headers=(("WWW-Authenticate", 'Basic realm="Stripe"'),),
    )


def unknown_url(method: str, path: str) -> StripeError:
    """404: Stripe has no such operation, or the sandbox does not play it."""
    return StripeError(
        404,
        "invalid_request_error",
        f"Unrecognized request URL ({method}: {path}). Please see https://stripe.com/docs or we can help at "
        "https://support.stripe.com/.",
        remembered=False,
    )


def rate_limited(reason: str, retry_after_s: float | None = None) -> StripeError:
    """429 with Stripe's header that says why; executed nothing and is kept under no key."""
    headers: tuple[tuple[str, str], ...] = (("Stripe-Rate-Limited-Reason", reason),)
    if retry_after_s is not None:
        headers += (("Retry-After", f"{retry_after_s:g}"),)
    lock_timeout = reason == "lock_timeout"
    return StripeError(
        429,
        "invalid_request_error",
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it."
        if lock_timeout
        else "Request rate limit exceeded. Learn more about rate limits here https://stripe.com/docs/rate-limits.",
        code="lock_timeout" if lock_timeout else "rate_limit",
        remembered=False,
        headers=headers,
    )


def account_refusal(reason: str, *, remembered: bool) -> StripeError:
    """What Stripe answers whoever pays, because of the account or its key. `reason` is one of `ACCOUNT_REFUSALS`.

    Whether a key remembers it depends on how far the execution had come, so the caller chooses.
    """
    status, code, param, message = ACCOUNT_REFUSALS[reason]
    return StripeError(
        status, "invalid_request_error", message, code=code, param=param, remembered=remembered
    )


ACCOUNT_REFUSALS: dict[str, tuple[int, str | None, str | None, str]] = {
    "account_restricted": (
        400,
        None,
        None,
        "Your account cannot currently make live charges. If you are a customer trying to make a purchase, please "
        "contact the owner of this site. Your transaction has not been processed.",
    ),
    "account_not_activated": (
        402,
        "testmode_charges_only",
        None,
        "Your account has not been activated and can only make test charges.",
    ),
    "method_not_activated": (
        400,
        "payment_method_unactivated",
        "payment_method_types",
        'The payment method type "card" is invalid. Please ensure the provided type is activated in your dashboard '
        "(https://dashboard.stripe.com/account/payments/settings).",
    ),
    "wrong_mode": (
        400,
        "resource_missing",
        "customer",
        "No such customer; a similar object exists in live mode, but a test mode key was used to make this request.",
    ),
    "not_permitted": (
        403,
        None,
        None,
        "The provided key does not have the required permissions for this endpoint.",
    ),
}
"""By reason: status, code, parameter, words. Source: https://docs.stripe.com/error-codes."""


def api_error(*, remembered: bool) -> StripeError:
    """500: something went wrong on Stripe's end."""
    return StripeError(
        500,
        "api_error",
        "Sorry! There was an error while talking to one of our backends. Support has been notified.",
        remembered=remembered,
    )


def key_in_use(key: str) -> StripeError:
    """409: a request with the same idempotency key has not been answered yet."""
    return StripeError(
        409,
        "invalid_request_error",
        f"There is currently another in-progress request using this Idempotent Key: {key}. Please try again later.",
        code="idempotency_key_in_use",
        remembered=False,
    )


def key_reused(key: str) -> StripeError:
    """400: the idempotency key belongs to a request with other parameters or another URL."""
    return StripeError(
        400,
        "idempotency_error",
        "Keys for idempotent requests can only be used with the same parameters they were first used with. "
        f"Try using a key other than '{key}' if you meant to execute a different request.",
        remembered=False,
    )


def key_too_long(length: int) -> StripeError:
    """400: an idempotency key of more than 255 characters."""
    return StripeError(
        400,
        "invalid_request_error",
        f"Idempotency keys can be at most 255 characters long, but this one has {length}. Use a shorter key.",
        remembered=False,
    )
