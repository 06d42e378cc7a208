"""Every refusal as an RFC 9457 problem. docs/problems.md lists the types; a test keeps the two equal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from middleman.billing.accounts import ProcessorMisconfigured, ProcessorRefused, ProcessorUnavailable
from middleman.billing.once import OutsideTooSlow
from middleman.domain.attempts import Declined
from middleman.domain.money import MoneyError
from middleman.ports.accounts import (
    AlreadyMade,
    AnchorRefused,
    NoSuchRecord,
    PlanArchived,
    TestClockRefused,
    UnknownReference,
)
from middleman.ports.notices import LiveNotice, NoticeMalformed, NoticeRefused
from middleman.ports.once import TicketInUse, TicketReused
from middleman.ports.store import StoreUnavailable

PROBLEM_BASE = "https://middleman.example/problems/"
MEDIA_TYPE = "application/problem+json"

TITLES: Mapping[str, str] = {
    "malformed-request": "The request cannot be read",
    "bad-cursor": "The cursor is not one of ours",
    "webhook-refused": "This is not shown to be the processor's",
    "unauthenticated": "A valid API key is needed",
    "payment-method-declined": "The payment method was declined",
    "insufficient-scope": "The API key lacks a scope",
    "not-found": "Nothing is here",
    "method-not-allowed": "This method does not apply here",
    "request-timeout": "The request body took too long",
    "idempotency-key-in-use": "The first request under this key is still at work",
    "idempotency-key-spent": "What this key makes exists already",
    "plan-archived": "The plan takes no new subscriptions",
    "test-clock-refused": "The test clock cannot be used like that",
    "body-too-large": "The request body is too large",
    "unsupported-media-type": "The request body must be JSON",
    "invalid-request": "Some fields are not valid",
    "unknown-reference": "A field names something that does not exist",
    "anchor-refused": "A subscription cannot begin then",
    "processor-refused": "The payment processor does not accept these values",
    "idempotency-key-reused": "The key belongs to another request",
    "internal-error": "Something went wrong on our side",
    "database-unavailable": "The database does not answer",
    "processor-unavailable": "The payment processor gave no definite answer",
    "processor-misconfigured": "The payment processor refuses this system",
    "overloaded": "Too many requests at once",
}


@dataclass(eq=False)
class Problem(Exception):
    """One refusal. `extra` are members beside the standard ones; `errors` name the fields at fault."""

    status: int
    slug: str
    detail: str
    errors: Sequence[Mapping[str, str]] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def body(self, request_id: str) -> bytes:
        """The JSON document."""
        document: dict[str, Any] = {
            "type": PROBLEM_BASE + self.slug,
            "title": TITLES[self.slug],
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
            **self.extra,
        }
        if self.errors:
            document["errors"] = list(self.errors)
        return orjson.dumps(document)

    def response(self, request_id: str) -> Response:
        """The document as an HTTP response."""
        return Response(self.body(request_id), self.status, dict(self.headers), MEDIA_TYPE)


def problem_of(error: Exception) -> Problem:
    """The problem that tells a caller about `error`; an unforeseen one becomes a bare internal-error."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _of_validation(error)
        case HTTPException():
            return _of_http(error)
        case NoSuchRecord():
            return Problem(404, "not-found", f"There is no {error.kind} {error.record_id}.")
        case NoticeRefused() | LiveNotice():
            return Problem(400, "webhook-refused", f"Nothing was taken: {error}.")
        case NoticeMalformed():
            return Problem(400, "malformed-request", f"The event cannot be read: {error}.")
        case UnknownReference():
            return _invalid("unknown-reference", str(error), error.field)
        case AnchorRefused():
            return _invalid("anchor-refused", str(error), "anchor")
        case MoneyError():
            return _invalid("invalid-request", str(error), "amount_minor")
        case AlreadyMade():
            detail = f"{error}. Read it under that id; for a new request use a fresh key."
            return Problem(409, "idempotency-key-spent", detail)
        case PlanArchived():
            return Problem(409, "plan-archived", str(error))
        case TestClockRefused():
            return Problem(409, "test-clock-refused", str(error))
        case TicketReused():
            return Problem(422, "idempotency-key-reused", f"{error}: use a fresh key for a new request.")
        case TicketInUse():
            return Problem(409, "idempotency-key-in-use", f"{error}.", headers={"Retry-After": "1"})
        case ProcessorRefused():
            extra = {"processor_code": error.code, "processor_param": error.param}
            return Problem(422, "processor-refused", str(error), extra=extra)
        case ProcessorMisconfigured():
            key = "a fresh" if error.replayed else "the same"
            detail = (
                f"{error} ({error.code}). No value of your request is at fault, and the operator has to act. "
                f"Repeat the request later with {key} Idempotency-Key."
            )
            return Problem(503, "processor-misconfigured", detail, headers={"Retry-After": "60"})
        case ProcessorUnavailable() | OutsideTooSlow():
            asked_for_s = error.retry_after_s if isinstance(error, ProcessorUnavailable) else None
            is_stored = isinstance(error, ProcessorUnavailable) and error.replayed
            key = "a fresh" if is_stored else "the same"
            wait = {"Retry-After": str(max(1, round(asked_for_s or 2)))}
            detail = f"{error}. Repeat the request with {key} Idempotency-Key."
            return Problem(503, "processor-unavailable", detail, headers=wait)
        case StoreUnavailable():
            detail = "Nothing is known about the request's effect. Repeat it with the same Idempotency-Key."
            return Problem(503, "database-unavailable", detail, headers={"Retry-After": "1"})
        case _:
            detail = "The request id finds the reason in our logs. Repeat it with the same Idempotency-Key."
            return Problem(500, "internal-error", detail)


def declined_problem(declined: Declined) -> Problem:
    """402: the processor's definite no to a payment method."""
    codes = {
        "code": declined.code,
        "decline_code": declined.decline_code,
        "advice_code": declined.advice_code,
    }
    detail = declined.message or "The payment method was declined: use another one."
    return Problem(402, "payment-method-declined", detail, extra=codes)


def _invalid(slug: str, message: str, name: str) -> Problem:
    return Problem(422, slug, message, errors=[{"field": name, "message": message}])


def _of_validation(error: RequestValidationError) -> Problem:
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return Problem(400, "malformed-request", "The body is not valid JSON.")
    errors = [
        {"field": _field_name(item["loc"]), "message": item["msg"].removeprefix("Value error, ")}
        for item in found[:50]
    ]
    return Problem(422, "invalid-request", "See `errors` for each field at fault.", errors=errors)


def _field_name(location: Sequence[Any]) -> str:
    """`body.interval.unit` as the caller wrote it: `interval.unit`. Odd characters of theirs are replaced."""
    parts = [str(part) for part in location if part not in ("body", "query", "path", "header")]
    name = ".".join(parts) or "body"
    return name.encode("utf-8", "replace").decode()[:200]


def _of_http(error: HTTPException) -> Problem:
    headers = dict(error.headers or {})
    match error.status_code:
        case 404:
            return Problem(404, "not-found", "There is no such resource.")
        case 405:
            return Problem(405, "method-not-allowed", "The Allow header names the methods.", headers=headers)
        case status if 400 <= status < 500:
            return Problem(400, "malformed-request", "The request body cannot be parsed.")
        case status:
            return Problem(500, "internal-error", HTTPStatus(status).phrase)
