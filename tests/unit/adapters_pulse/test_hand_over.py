"""`POST /leader/resign`: nobody gets in without the token, and only a leader hands over."""

import asyncio

from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import CollectorRegistry

from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.entrypoints.replica.ops import HandOver, ops_app

TOKEN = "a-token-that-is-long-enough"


async def no_trouble() -> None:
    """A database that can be worked with."""


async def ask(hand_over: HandOver | None, authorization: str | None) -> int:
    registry = CollectorRegistry()
    app = ops_app(
        "replica-1", "replica-1#aa", ReplicaMetrics(registry), registry, lambda: True, no_trouble, hand_over
    )
    async with TestClient(TestServer(app)) as client:
        headers = {} if authorization is None else {"Authorization": authorization}
        return (await client.post("/leader/resign", headers=headers)).status


async def test_only_the_token_makes_a_leader_resign() -> None:
    asked: list[bool] = []

    def resign() -> bool:
        asked.append(True)
        return True

    hand_over = HandOver(TOKEN, resign)
    for wrong in (None, "", TOKEN, "Basic " + TOKEN, "Bearer", "Bearer wrong", f"Bearer {TOKEN}x"):
        assert await ask(hand_over, wrong) == 401
    assert asked == []
    assert await ask(hand_over, f"Bearer {TOKEN}") == 202
    assert asked == [True]


async def test_a_header_that_is_no_text_is_refused_like_any_other() -> None:
    registry = CollectorRegistry()
    hand_over = HandOver(TOKEN, lambda: True)
    app = ops_app(
        "replica-1", "replica-1#aa", ReplicaMetrics(registry), registry, lambda: True, no_trouble, hand_over
    )
    async with TestServer(app) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"POST /leader/resign HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\n"
            b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
        answer = await asyncio.wait_for(reader.read(), 5)
        writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_who_does_not_lead_says_so() -> None:
    assert await ask(HandOver(TOKEN, lambda: False), f"Bearer {TOKEN}") == 409


async def test_without_a_token_in_the_settings_there_is_nothing_to_ask() -> None:
    assert await ask(None, f"Bearer {TOKEN}") == 404
