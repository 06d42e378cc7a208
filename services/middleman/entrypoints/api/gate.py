"""What every request passes before its handler, outermost first: `RequestScope`, `Gate`, `BodyLimit`.

Plain ASGI: they see a request before anything is parsed, and below `/v1` an unauthenticated body is never read.
"""

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from middleman.entrypoints.api.metrics import ApiMetrics
from middleman.entrypoints.api.problems import Problem, problem_of
from middleman.ports.api_keys import Caller, Callers
from middleman.ports.new_id import NewId
from middleman.ports.store import StoreUnavailable

MAX_IN_FLIGHT = 512
MAX_BODY_BYTES = 64 * 1024
# Fifty metadata of five hundred characters each, every one of them escaped, are 150 kB, and there is more in an event.
MAX_WEBHOOK_BYTES = 256 * 1024
_LARGER: Mapping[str, int] = {"/webhooks/stripe": MAX_WEBHOOK_BYTES}
BODY_TIMEOUT_S = 10.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_OPERATIONS = ("/livez", "/readyz", "/metrics")
"""Left out of the log, and answered under overload too: a busy process is neither dead nor to be flown blind."""

log = structlog.get_logger()


@dataclass(slots=True)
class RequestScope:
    """Gives every request an id, a line in the log and a place in the metrics, and turns errors into problems."""

    app: ASGIApp
    metrics: ApiMetrics
    new_id: NewId
    max_in_flight: int = MAX_IN_FLIGHT
    in_flight: int = field(default=0, init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started_s = time.perf_counter()
        offered = Headers(scope=scope).get("x-request-id", "")
        request_id = offered if _REQUEST_ID.fullmatch(offered) else self.new_id("req_")
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def tagged_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        self._count(1)
        try:
            if self.in_flight > self.max_in_flight and scope["path"] not in _OPERATIONS:
                detail = f"More than {self.max_in_flight} requests are at work here."
                raise Problem(503, "overloaded", detail, headers={"Retry-After": "1"})
            await self.app(scope, receive, tagged_send)
        except Exception as error:
            problem = problem_of(error)
            if problem.status == 500:
                log.error("request.failed", request_id=request_id, exc_info=error)
            elif isinstance(error, StoreUnavailable):
                log.warning("request.unanswered", request_id=request_id, reason=str(error))
            if status == 0:
                await problem.response(request_id)(scope, receive, tagged_send)
        finally:
            self._count(-1)
            self._record(scope, request_id, status, time.perf_counter() - started_s)

    def _count(self, change: int) -> None:
        self.in_flight += change
        self.metrics.in_flight.set(self.in_flight)

    def _record(self, scope: Scope, request_id: str, status: int, duration_s: float) -> None:
        route = getattr(scope.get("route"), "path", "(none)")
        self.metrics.handled(route, scope["method"], status, duration_s)
        if route in _OPERATIONS:
            return
        caller = scope["state"].get("caller")
        log.info(
            "request.handled",
            request_id=request_id,
            method=scope["method"],
            route=route,
            status=status,
            duration_ms=round(duration_s * 1000, 2),
            api_key_id=caller.api_key_id if caller else None,
        )


@dataclass(frozen=True, slots=True)
class CallerCache:
    """Remembers callers for a few seconds, so that not every request costs a look-up. Bounded.

    A revoked key thus works for up to `keep_s` more. Unknown keys are remembered too.
    """

    callers: Callers
    now_s: Callable[[], float] = time.monotonic
    keep_s: float = 5.0
    capacity: int = 1024
    _known: OrderedDict[bytes, tuple[float, Caller | None]] = field(default_factory=OrderedDict)

    async def find(self, secret: str) -> Caller | None:
        """The caller behind an API key's secret; None when there is none."""
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        kept = self._known.get(digest)
        if kept is not None and kept[0] > self.now_s():
            return kept[1]
        caller = await self.callers.find(digest)
        self._known[digest] = (self.now_s() + self.keep_s, caller)
        self._known.move_to_end(digest)
        while len(self._known) > self.capacity:
            self._known.popitem(last=False)
        return caller


@dataclass(frozen=True, slots=True)
class Gate:
    """Lets callers with a valid API key into `/v1`: GET needs scope `read`, everything else `write`."""

    app: ASGIApp
    callers: CallerCache

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (scope["path"] == "/v1" or scope["path"].startswith("/v1/")):
            scope["state"]["caller"] = await self._admit(scope)
        await self.app(scope, receive, send)

    async def _admit(self, scope: Scope) -> Caller:
        scheme, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secret or len(secret) > 256:
            raise _unauthenticated("Send the header `Authorization: Bearer mk_test_…`.", "")
        caller = await self.callers.find(secret.strip())
        if caller is None:
            raise _unauthenticated("The API key is unknown or revoked.", ' error="invalid_token"')
        needed = "read" if scope["method"] == "GET" else "write"
        if needed not in caller.scopes:
            challenge = f'Bearer realm="middleman" error="insufficient_scope" scope="{needed}"'
            detail = f"The API key lacks the scope `{needed}`."
            raise Problem(403, "insufficient-scope", detail, headers={"WWW-Authenticate": challenge})
        return caller


def _unauthenticated(detail: str, error: str) -> Problem:
    challenge = f'Bearer realm="middleman"{error}'
    return Problem(401, "unauthenticated", detail, headers={"WWW-Authenticate": challenge})


@dataclass(frozen=True, slots=True)
class BodyLimit:
    """Reads the whole body, which is small and comes soon, and keeps it for the idempotency digest."""

    app: ASGIApp
    timeout_s: float = BODY_TIMEOUT_S

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        max_bytes = _LARGER.get(scope["path"], MAX_BODY_BYTES)
        announced = headers.get("content-length", "0")
        if announced.isdigit() and int(announced[:19]) > max_bytes:
            raise _too_large(max_bytes)
        try:
            async with asyncio.timeout(self.timeout_s):
                body = await _read(receive, max_bytes)
        except TimeoutError:
            detail = f"The body did not arrive within {self.timeout_s:g} s."
            raise Problem(408, "request-timeout", detail, headers={"Connection": "close"}) from None
        if body is None:
            return  # the caller has gone: there is nobody to answer
        media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
        if body and media_type != "application/json":
            detail = "Send the body as application/json."
            raise Problem(415, "unsupported-media-type", detail, headers={"Accept-Post": "application/json"})
        scope["state"]["body"] = body
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


async def _read(receive: Receive, max_bytes: int) -> bytes | None:
    chunks = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks += message.get("body", b"")
        if len(chunks) > max_bytes:
            raise _too_large(max_bytes)
        if not message.get("more_body", False):
            return bytes(chunks)


def _too_large(max_bytes: int) -> Problem:
    detail = f"A body has at most {max_bytes} bytes here."
    return Problem(413, "body-too-large", detail, headers={"Connection": "close"})
