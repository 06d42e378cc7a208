"""The ASGI application of the REST API."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response

from middleman.billing.forgetting import forget_old_answers
from middleman.bootstrap.api import ApiParts
from middleman.entrypoints.api.documentation import DESCRIPTION, openapi_of
from middleman.entrypoints.api.gate import BodyLimit, CallerCache, Gate, RequestScope
from middleman.entrypoints.api.metrics import ApiMetrics
from middleman.entrypoints.api.problems import problem_of
from middleman.entrypoints.api.routes import (
    customers,
    invoices,
    leadership,
    operations,
    plans,
    subscriptions,
    test_clock,
    webhooks,
)

log = structlog.get_logger()

_ROUTERS = (customers, plans, subscriptions, invoices, leadership, webhooks, test_clock, operations)


def create_app(parts: ApiParts) -> FastAPI:
    """The application over its parts, which it closes when it shuts down."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        forgetting = asyncio.create_task(forget_old_answers(parts.accounts, parts.clock, random.random))
        warming = asyncio.create_task(parts.warm())
        try:
            yield
        finally:
            for task in (forgetting, warming):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await parts.close()

    app = FastAPI(
        title="Middleman",
        version="1.0.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        redirect_slashes=False,
        redoc_url=None,
        # Our own log and metrics; FastAPI's instrumentation would cost time on every request.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    metrics = ApiMetrics(parts.records.sessions_in_use, parts.pool_size)
    app.state.parts = parts
    app.state.metrics = metrics
    for module in _ROUTERS:
        app.include_router(module.router)
    app.openapi = openapi_of(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend it
    app.add_exception_handler(RequestValidationError, _refuse)
    app.add_exception_handler(HTTPException, _refuse)
    app.add_middleware(BodyLimit)
    app.add_middleware(Gate, callers=CallerCache(parts.callers))
    app.add_middleware(RequestScope, metrics=metrics, new_id=parts.new_id)
    return app


async def _refuse(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if problem.status == 405:
        problem.headers = {"Allow": ", ".join(_methods_of(request.url.path))}
    return problem.response(request.state.request_id)


def _methods_of(path: str) -> list[str]:
    """What may be asked of a path, over all its routes; Starlette names those of the first one only."""
    routes = [route for module in _ROUTERS for route in module.router.routes if isinstance(route, APIRoute)]
    return sorted(
        {method for route in routes if route.path_regex.match(path) for method in route.methods or ()}
    )
