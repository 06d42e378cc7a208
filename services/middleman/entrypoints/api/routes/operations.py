"""`/livez`, `/readyz`, `/metrics`: for probes and scrapers, without an API key."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from middleman.entrypoints.api.answering import Parts
from middleman.entrypoints.api.documentation import reading
from middleman.entrypoints.api.metrics import CONTENT_TYPE, ApiMetrics
from middleman.entrypoints.api.problems import Problem

router = APIRouter(tags=["operations"])

_STATUS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["status"],
                    "properties": {"status": {"const": "ok"}},
                }
            }
        }
    }
}


@router.get("/livez", operation_id="live", summary="Is the process alive?", responses=_STATUS)
async def live() -> Response:
    """Touches nothing but the event loop."""
    return JSONResponse({"status": "ok"})


@router.get(
    "/readyz",
    operation_id="ready",
    summary="Can it serve?",
    responses=_STATUS | {503: reading()[503]},
)
async def ready(parts: Parts) -> Response:
    """The database answers, and its schema is new enough."""
    trouble = await parts.records.ready()
    if trouble is not None:
        raise Problem(503, "database-unavailable", f"Not ready: {trouble}.", headers={"Retry-After": "1"})
    return JSONResponse({"status": "ok"})


@router.get(
    "/metrics",
    operation_id="metrics",
    summary="Prometheus metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    found: ApiMetrics = request.app.state.metrics
    return Response(found.exposition(), headers={"Content-Type": CONTENT_TYPE})
