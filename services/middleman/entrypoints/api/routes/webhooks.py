"""`/webhooks/stripe`: what Stripe tells of its own accord. Its signature admits; see `middleman.ports.notices`."""

from typing import Any

import structlog
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from middleman.entrypoints.api.answering import Parts
from middleman.entrypoints.api.documentation import delivering
from middleman.entrypoints.api.metrics import ApiMetrics
from middleman.entrypoints.api.problems import Problem
from middleman.ports.notices import Filing, LiveNotice, NoticeMalformed, NoticeRefused
from middleman.ports.store import StoreUnavailable

log = structlog.get_logger()

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

_EXAMPLE = {
    "id": "evt_1PqVZ2LkdIwHu7ix",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": 1790000000,
    "livemode": False,
    "data": {"object": {"id": "pi_3PqVZ2LkdIwHu7ix", "object": "payment_intent", "status": "succeeded"}},
}
_DELIVERY: dict[str, Any] = {
    "parameters": [
        {
            "name": "Stripe-Signature",
            "in": "header",
            "required": True,
            "description": "`t=…,v1=…`: HMAC-SHA256 over the stamp, a full stop and the body as it is.",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "description": "An event: https://docs.stripe.com/api/events/object",
                    "required": ["type"],
                    "properties": {"type": {"type": "string"}},
                },
                "examples": {"succeeded": {"value": _EXAMPLE}},
            }
        },
    },
}
_TAKEN: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Taken; not to be delivered again.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["result"],
                    "properties": {"result": {"enum": [filing.value for filing in Filing]}},
                }
            }
        },
    }
}


@router.post(
    "/stripe",
    operation_id="take_stripe_webhook",
    summary="Take an event of Stripe's",
    responses=_TAKEN | delivering(),
    openapi_extra=_DELIVERY,
)
async def take_stripe_webhook(request: Request, parts: Parts) -> Response:
    """Files `payment_intent.succeeded` and `.canceled` as a hint that the leader looks into; nothing else is kept."""
    if parts.notice_reader is None:
        detail = "No webhooks are taken here: set STRIPE_WEBHOOK_SECRET to the endpoint's secret (whsec_…)."
        raise Problem(404, "not-found", detail)
    metrics: ApiMetrics = request.app.state.metrics
    try:
        notice = parts.notice_reader.read(request.state.body, _signature(request))
        filing = Filing.IGNORED if notice is None else await parts.notices.file(notice)
    except (NoticeRefused, LiveNotice, NoticeMalformed) as error:
        metrics.delivered("malformed" if isinstance(error, NoticeMalformed) else "refused")
        # Its body may be anybody's: it stays out of the log.
        log.warning("webhook.refused", request_id=request.state.request_id, reason=str(error))
        raise
    except StoreUnavailable:
        metrics.delivered("failed")  # Stripe delivers it again
        raise
    metrics.delivered(filing.value)
    return JSONResponse({"result": filing.value})


def _signature(request: Request) -> str | None:
    signatures = request.headers.getlist("stripe-signature")
    return signatures[0] if len(signatures) == 1 else None
