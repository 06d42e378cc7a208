"""The last step of a request: what breaks one reply costs no other client theirs, and no key its freedom."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import orjson
import pytest

from stripe_sandbox.app import Sandbox
from stripe_sandbox.http import Connection, Ending, Reply, Request
from stripe_sandbox.storage import Storage

API_KEY = "sk_test_replies"


class FakeConnection:
    """Keeps what it is told; may break at it."""

    def __init__(self, *, broken: bool = False) -> None:
        self.replies: list[Reply] = []
        self.closed = asyncio.Event()
        self._broken = broken

    def finish(self, reply: Reply, ending: Ending = Ending.REPLY) -> None:
        if self._broken:
            raise RuntimeError("this connection cannot be written to")
        self.replies.append(reply)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncIterator[Sandbox]:
    storage = Storage(tmp_path)
    yield Sandbox(storage, api_key=API_KEY, admin_key="admin")
    storage.close()


def send(sandbox: Sandbox, connection: FakeConnection, key: str = "") -> None:
    headers = {"authorization": f"Bearer {API_KEY}", "idempotency-key": key}
    request = Request("POST", "/v1/customers", "", headers, b"")
    sandbox.handle(cast(Connection, connection), request)


async def test_a_connection_that_breaks_is_closed_and_costs_the_others_nothing(sandbox: Sandbox) -> None:
    broken, whole = FakeConnection(broken=True), FakeConnection()
    send(sandbox, broken, "of-the-broken")
    send(sandbox, whole, "of-the-whole")
    await asyncio.sleep(0)
    assert broken.closed.is_set()
    assert [reply.status for reply in whole.replies] == [200]
    again = FakeConnection()
    send(sandbox, again, "of-the-broken")
    send(sandbox, again, "of-the-whole")
    await asyncio.sleep(0)
    assert [reply.status for reply in again.replies] == [200, 200]


async def test_an_answer_that_crashes_becomes_a_500_and_the_next_one_leaves(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(key_seq: int) -> tuple[str, bytes]:
        raise TypeError("no such answer")

    first, repeat, other = FakeConnection(), FakeConnection(), FakeConnection()
    send(sandbox, first, "k")
    await asyncio.sleep(0)
    monkeypatch.setattr(sandbox._storage, "answer", crash)
    send(sandbox, repeat, "k")
    send(sandbox, other, "l")
    await asyncio.sleep(0)
    assert [reply.status for reply in (*first.replies, *repeat.replies, *other.replies)] == [200, 500, 200]
    assert orjson.loads(repeat.replies[0].body)["error"]["type"] == "api_error"


async def test_a_reply_that_waits_for_a_fault_may_break_too(sandbox: Sandbox) -> None:
    sandbox.faults.add({"action": {"type": "hang", "when": "after", "hang_s": 0.001}})
    broken = FakeConnection(broken=True)
    send(sandbox, broken)
    async with asyncio.timeout(10):
        await broken.closed.wait()
