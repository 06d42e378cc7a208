"""A client whose request nobody answers gives up, and the run has that on record as wrong."""

import asyncio
import random
from itertools import islice

import httpx
import pytest

from chaos.workload import clients as module
from chaos.workload.book import Book
from chaos.workload.clients import Clients
from chaos.workload.figures import Figures
from chaos.workload.findings import MAX_FINDINGS, compare
from chaos.workload.population import Crowd
from chaos.workload.sending import Sender


async def test_an_answer_that_never_came_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.02)

    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    dice, figures, book = random.Random(1), Figures(), Book()
    sender = Sender(
        ["http://one"],
        "key",
        dice=dice,
        figures=figures,
        transport=httpx.MockTransport(away),
    )
    drafts = islice(Crowd(1, "chaos-test").drafts(), 50)
    clients = Clients(sender, book, figures, dice, drafts, ["pl_1"] * 10)
    while not figures.gave_up:  # an act may be one that has nobody to act for yet
        await clients.something(wanted=5)
    await sender.close()
    [wrong] = compare(book, [])
    assert "no answer" in wrong
    assert "ConnectError" in wrong


def test_only_the_first_few_are_kept_in_words() -> None:
    book = Book()
    for number in range(100):
        book.unanswered(f"GET /{number}")
    assert len(compare(book, [])) <= MAX_FINDINGS


async def test_who_is_held_at_the_gate_loses_no_patience() -> None:
    """The judge may look for longer than anybody would wait for an answer."""
    asked = 0

    async def answering(_: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if asked == 1:
            sender.gate.close()
            asyncio.get_running_loop().call_later(1.0, sender.gate.open)
        return httpx.Response(200, json={"id": "cu_1"}) if asked == 3 else httpx.Response(503)

    sender = Sender(
        ["http://one"],
        "key",
        dice=random.Random(1),
        figures=Figures(),
        transport=httpx.MockTransport(answering),
    )
    assert await sender.post("/v1/plans", {}, "key-1", patience_s=0.8) == {"id": "cu_1"}
    assert asked == 3, "the second try was held at the gate for longer than that"
    await sender.close()
