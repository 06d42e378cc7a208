"""Bounds of a process: requests at work, slow bodies, defects. Each ends in a problem."""

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from middleman.adapters.ulid import new_id
from middleman.entrypoints.api.gate import BodyLimit, RequestScope
from middleman.entrypoints.api.metrics import ApiMetrics

PROBLEMS = "https://middleman.example/problems/"


def scoped(app: ASGIApp, max_in_flight: int = 10) -> tuple[httpx.AsyncClient, ApiMetrics]:
    """A client of `app` inside a RequestScope, and its metrics."""
    metrics = ApiMetrics(lambda: 0, 1)
    scope = RequestScope(app, metrics, new_id, max_in_flight)
    return httpx.AsyncClient(transport=httpx.ASGITransport(scope), base_url="http://api"), metrics


async def test_more_requests_than_fit_are_turned_away_and_the_rest_served() -> None:
    full, probed, go_on = asyncio.Event(), asyncio.Event(), asyncio.Event()
    at_work = 0

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal at_work
        at_work += 1
        if at_work == 3:
            full.set()
        if at_work == 6:
            probed.set()
        await go_on.wait()
        await PlainTextResponse("done")(scope, receive, send)

    client, metrics = scoped(slow, max_in_flight=3)
    async with client:
        served = [asyncio.create_task(client.get("/")) for _ in range(3)]
        await asyncio.wait_for(full.wait(), 5)
        assert b"middleman_api_in_flight 3.0" in metrics.exposition()
        turned_away = await client.get("/")
        # A probe that is turned away has the process killed, and a scraper goes blind, when it is needed most.
        probes = [asyncio.create_task(client.get(path)) for path in ("/livez", "/readyz", "/metrics")]
        await asyncio.wait_for(probed.wait(), 5)
        go_on.set()
        answers = await asyncio.gather(*served, *probes)
        assert (await client.get("/")).status_code == 200
    assert turned_away.status_code == 503
    assert turned_away.json()["type"] == PROBLEMS + "overloaded"
    assert turned_away.headers["Retry-After"] == "1"
    assert [answer.status_code for answer in answers] == [200] * 6
    assert b"middleman_api_in_flight 0.0" in metrics.exposition()


async def test_a_body_that_does_not_come_is_408() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        raise AssertionError("a handler must not see half a request")

    async def dripping() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    client, _ = scoped(BodyLimit(never, timeout_s=0.05))
    async with client:
        answer = await client.post("/", content=dripping(), headers={"Content-Type": "application/json"})
    assert answer.status_code == 408
    assert answer.json()["type"] == PROBLEMS + "request-timeout"


async def test_a_defect_is_a_bare_500_that_tells_nothing_of_its_reason() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("password=hunter2 in a message")

    client, metrics = scoped(broken)
    async with client:
        answer = await client.get("/", headers={"X-Request-Id": "trace-me"})
    assert answer.status_code == 500
    assert answer.json()["type"] == PROBLEMS + "internal-error"
    assert answer.json()["request_id"] == answer.headers["X-Request-Id"] == "trace-me"
    assert "hunter2" not in answer.text
    assert b'status="500"' in metrics.exposition()


async def test_a_defect_after_the_first_byte_adds_nothing_to_the_response() -> None:
    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half"})
        raise RuntimeError("too late to say so")

    client, _ = scoped(late)
    async with client:
        answer = await client.get("/")
    assert (answer.status_code, answer.content) == (200, b"half")


async def test_the_handler_gets_the_whole_body_and_so_does_the_digest() -> None:
    async def echo(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        same = await request.body() == request.state.body
        await PlainTextResponse(f"{same} {request.state.body.decode()}")(scope, receive, send)

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"[1", b",2", b"]"):
            yield piece

    client, _ = scoped(BodyLimit(echo))
    async with client:
        answer = await client.post("/", content=pieces(), headers={"Content-Type": "application/json"})
    assert answer.text == "True [1,2]"
