"""Rules are put in force once, at a sandbox that is there."""

import httpx
import pytest

from chaos.drive.target import TargetError
from chaos.faults import rules
from chaos.faults.rules import Admin


async def test_a_rule_waits_for_a_sandbox_that_is_still_starting_and_is_sent_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "_RETRY_S", 0.001)
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.method)
        if len(asked) < 3:
            raise httpx.ConnectError("refused")
        return httpx.Response(200, json={"id": "rule_1"})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        assert await Admin(http, "http://sandbox", "key").add({"action": "reset"}) == "rule_1"
    assert asked == ["GET", "GET", "GET", "POST"]


async def test_a_sandbox_that_stays_away_takes_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "_RETRY_S", 0.001)
    monkeypatch.setattr(rules, "UNDO_TIMEOUT_S", 0.02)
    methods: set[str] = set()

    def answer(request: httpx.Request) -> httpx.Response:
        methods.add(request.method)
        raise httpx.ConnectError("refused")

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        with pytest.raises(TargetError, match="does not answer GET"):
            await Admin(http, "http://sandbox", "key").add({"action": "reset"})
    assert methods == {"GET"}
