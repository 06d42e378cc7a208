"""The replica's operations endpoint: for probes, Prometheus and whoever asks who leads."""

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from middleman.adapters.pulse import PULSE_PATH
from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.leadership.observer import Role

READY_ROLES = (Role.FOLLOWER, Role.LEADER)

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True, slots=True)
class HandOver:
    """`POST /leader/resign`: the leader drains and gives its lease up, and another replica leads.

    `resign` is False when this replica does not lead. Callers prove themselves by `Bearer <token>`.
    """

    token: str
    resign: Callable[[], bool]

    async def answer(self, request: web.Request) -> web.Response:
        """202 and on its way; 401 without the token; 409 when somebody else leads."""
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        offered = given.encode("utf-8", "surrogateescape")  # a header may hold any bytes
        if scheme.lower() != "bearer" or not hmac.compare_digest(offered, self.token.encode()):
            return web.json_response(
                {"error": "send Authorization: Bearer with the value of MIDDLEMAN_OPS_TOKEN"},
                status=401,
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not self.resign():
            return web.json_response(
                {"error": "this replica does not lead: ask the one that does"}, status=409
            )
        return web.json_response({"status": "resigning"}, status=202)


def ops_app(
    name: str,
    holder: str,
    metrics: ReplicaMetrics,
    registry: CollectorRegistry,
    warmed: Callable[[], bool],
    database_trouble: Callable[[], Awaitable[str | None]],
    hand_over: HandOver | None = None,
) -> web.Application:
    """`/livez`, `/readyz`, `/leader`, `/metrics`, and `/pulse`, whose answer lasts as long as the process `holder`.

    `warmed` says whether connections are open, `database_trouble` why the database cannot be worked with.
    `POST /leader/resign` exists where `hand_over` is given.
    """

    async def livez(request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def readyz(request: web.Request) -> web.Response:
        trouble = await database_trouble()
        ready = metrics.role in READY_ROLES and warmed() and trouble is None
        body = {
            "status": "ok" if ready else "not ready",
            "role": metrics.role.value,
            "warm": warmed(),
            "database": trouble or "ok",
        }
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
    if hand_over is not None:
        app.router.add_post("/leader/resign", hand_over.answer)
    return app
