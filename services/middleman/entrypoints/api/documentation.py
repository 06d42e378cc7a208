"""The OpenAPI document's common parts: refusals, security, tags."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from middleman.entrypoints.api.problems import MEDIA_TYPE, PROBLEM_BASE, TITLES

DESCRIPTION = """
Subscriptions in, charges out: every billing period is charged exactly once, by whichever replica leads.

* **Authentication**: `Authorization: Bearer mk_test_…`. GET needs the scope `read`, everything else `write`.
* **Repeating**: any POST takes an `Idempotency-Key`. The same key with the same body has one effect and one answer,
  for at least 24 hours; a repeated answer says `Idempotent-Replayed: true`. After a 5xx or a broken connection, repeat
  with the same key. What a request makes is named after its key, so a repeat makes the same thing even where the
  database lost the first one. Without a key a repeat is a new request.
* **Lists** are newest first; follow `next_cursor`.
* **Money** is an integer in the currency's minor unit. **Times** are UTC (RFC 3339).
* **Refusals** are problems (RFC 9457) with a stable `type`.
"""

TAGS = [
    {"name": "customers", "description": "Who pays, and with what."},
    {"name": "plans", "description": "What a subscription costs, and how often."},
    {"name": "subscriptions", "description": "Who pays for which plan, from when, until when."},
    {
        "name": "invoices",
        "description": "What is owed for each billing period, and the attempts to collect it.",
    },
    {"name": "leadership", "description": "Which replica leads, and which led before."},
    {"name": "events", "description": "What happened, in order."},
    {
        "name": "webhooks",
        "description": "What the payment processor tells; its signature admits, no API key.",
    },
    {"name": "test clock", "description": "Business time in the test environment."},
    {"name": "operations", "description": "For probes and scrapers; no API key needed."},
]

_REFUSALS = {
    400: "The request cannot be read, its cursor is not one of ours, or its signature is not the processor's.",
    401: "The API key is missing, unknown or revoked.",
    402: "The payment method was declined.",
    403: "The API key lacks a scope.",
    404: "There is no such resource.",
    408: "The body took too long to arrive.",
    409: "The present state does not allow it; the first request under this key is still at work; or what the key makes"
    " exists already, and the answer is no longer kept.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Some fields are not valid; or the Idempotency-Key belongs to another request.",
    500: "A defect on our side.",
    503: "The database or the processor gave no answer, or too many requests are at work.",
}
_READING = (400, 401, 403, 422, 500, 503)
_WRITING = (400, 401, 403, 408, 409, 413, 415, 422, 500, 503)
_DELIVERING = (400, 404, 408, 413, 415, 500, 503)

_PROBLEM_SCHEMA = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457. The types are listed in docs/problems.md.",
    "required": ["type", "title", "status", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri", "enum": [PROBLEM_BASE + slug for slug in TITLES]},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "message"],
                "properties": {"field": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
    "examples": [
        {
            "type": PROBLEM_BASE + "invalid-request",
            "title": TITLES["invalid-request"],
            "status": 422,
            "detail": "See `errors` for each field at fault.",
            "request_id": "req_01jd8x3v9k2m4n5p6q7r8s9t0v",
            "errors": [
                {"field": "interval.unit", "message": "Input should be 'day', 'week', 'month' or 'year'"}
            ],
        }
    ],
}


def reading(*more: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a GET, and `more`."""
    return _refusals((*_READING, *more))


def writing(*more: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a POST, and `more`."""
    return _refusals((*_WRITING, *more))


def delivering() -> dict[int | str, dict[str, Any]]:
    """The refusals of a webhook."""
    return _refusals(_DELIVERING)


def _refusals(statuses: tuple[int, ...]) -> dict[int | str, dict[str, Any]]:
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _REFUSALS[status], "content": content} for status in sorted(statuses)}


def openapi_of(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Makes the document once, with what FastAPI cannot know: problems, and which paths need an API key."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=TAGS,
            )
            components = document.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = _PROBLEM_SCHEMA
            components["securitySchemes"] = {
                "api_key": {"type": "http", "scheme": "bearer", "description": "An API key: mk_test_…"}
            }
            for path, operations in document["paths"].items():
                for operation in operations.values():
                    if path.startswith("/v1/"):
                        operation["security"] = [{"api_key": []}]
                    for parameter in operation.get("parameters", ()):
                        _leave_out_null(parameter["schema"])
            app.openapi_schema = document
        return app.openapi_schema

    return openapi


def _leave_out_null(schema: dict[str, Any]) -> None:
    """A parameter is there or not; it cannot be null, though Python's default for it is None."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        schema.update(kinds[0])
