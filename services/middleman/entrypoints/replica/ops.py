"""The replica's operations endpoint: for probes, Prometheus and whoever asks who leads."""

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from middleman.adapters.pulse import PULSE_PATH
from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.leadership.observer import Role

READY_ROLES = (Role.FOLLOWER, Role.LEADER)

Handler = Callable[[web.Request], Awaitable[web.Response]]


def ops_app(
    name: str, holder: str, metrics: ReplicaMetrics, registry: CollectorRegistry, warmed: Callable[[], bool]
) -> web.Application:
    """`/livez`, `/readyz`, `/leader`, `/metrics`, and `/pulse`, whose answer lasts as long as the process `holder`.

    `warmed` says whether connections are open.
    """

    async def livez(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        ready = metrics.role in READY_ROLES and warmed()
        body = {"status": "ok" if ready else "not ready", "role": metrics.role.value, "warm": warmed()}
        return web.json_response(body, status=200 if ready else 503)

    async def leader(request: web.Request) -> web.Response:
        term = metrics.term
        return web.json_response(
            {
                "replica": name,
                "role": metrics.role.value,
                "leads": term is not None,
                "term": None if term is None else term.number,
                "election_revision": None if term is None else term.election_revision,
            }
        )

    async def prometheus(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def pulse(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(json.dumps({"holder": holder}).encode() + b"\n")
        await asyncio.Event().wait()  # cancelled when the listener goes, or this process is told to stop
        return response

    app = web.Application()
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/leader", leader)
    app.router.add_get("/metrics", prometheus)
    app.router.add_get(PULSE_PATH, pulse)
    return app
