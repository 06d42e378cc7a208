"""The workload's sender repeats elsewhere until the answer is definite; its gate knows when nothing is under way."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import httpx
import pytest

from chaos.workload import sending
from chaos.workload.figures import Figures
from chaos.workload.sending import Gate, NoAnswerError, RefusedError, Sender

ONE, OTHER = "http://one", "http://other"
PATIENCE_S = 30.0
Answering = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Api:
    """Two instances behind one transport; each answers as the test says, and every request is remembered."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.answering: dict[str, Answering] = {"one": made, "other": made}

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return await self.answering[request.url.host](request)

    @property
    def hosts(self) -> list[str]:
        return [request.url.host for request in self.requests]


async def made(_: httpx.Request) -> httpx.Response:
    return httpx.Response(201, json={"id": "cu_1"})


def tells(*answers: httpx.Response | Exception) -> Answering:
    """These, one after the other, and then that it was made."""
    left = list(answers)

    async def answer(request: httpx.Request) -> httpx.Response:
        if not left:
            return await made(request)
        told = left.pop(0)
        if isinstance(told, Exception):
            raise told
        return told

    return answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(sending, "FIRST_BACKOFF_S", 0.0)


@pytest.fixture
def api() -> Api:
    return Api()


def sender(api: Api, *urls: str) -> tuple[Sender, Figures]:
    figures = Figures()
    transport = httpx.MockTransport(api)
    return Sender(
        urls or (ONE, OTHER), "mk_test_x", dice=random.Random(1), figures=figures, transport=transport
    ), figures


@pytest.mark.parametrize(
    "trouble",
    [
        httpx.ConnectError("refused"),
        httpx.ReadError("reset"),
        httpx.ReadTimeout("frozen"),
        httpx.Response(503, json={}),
        httpx.Response(500, json={}),
        httpx.Response(429, json={}),
        httpx.Response(409, json={"type": "https://x/idempotency-key-in-use"}),
    ],
    ids=["refused", "reset", "timeout", "503", "500", "429", "in-use"],
)
async def test_what_is_not_definite_is_asked_again_at_the_other_instance_under_the_same_key(
    api: Api, trouble: httpx.Response | Exception
) -> None:
    api.answering = {"one": tells(trouble), "other": tells(trouble)}
    client, figures = sender(api)
    assert await client.post("/v1/customers", {"email": "a"}, "key-1", patience_s=PATIENCE_S) == {
        "id": "cu_1"
    }
    assert api.hosts[0] != api.hosts[1]
    assert {request.headers["Idempotency-Key"] for request in api.requests} == {"key-1"}
    assert len({request.content for request in api.requests}) == 1
    assert figures.repeated == figures.elsewhere == len(api.requests) - 1
    await client.close()


async def test_one_instance_alone_is_asked_again_itself(api: Api) -> None:
    api.answering["one"] = tells(httpx.ConnectError("refused"), httpx.Response(503))
    client, figures = sender(api, ONE)
    assert await client.post("/v1/plans", {}, "key-1", patience_s=PATIENCE_S) == {"id": "cu_1"}
    assert api.hosts == ["one"] * 3
    assert (figures.repeated, figures.elsewhere) == (2, 0)
    await client.close()


@pytest.mark.parametrize("status", [400, 401, 402, 404, 409, 422])
async def test_a_definite_refusal_is_not_repeated(api: Api, status: int) -> None:
    refusal = httpx.Response(status, json={"type": "https://x/plan-archived", "detail": "no"})
    api.answering = {"one": tells(refusal), "other": tells(refusal)}
    client, _ = sender(api)
    with pytest.raises(RefusedError, match=rf"refused with {status}") as refused:
        await client.post("/v1/subscriptions", {}, "key-1", patience_s=PATIENCE_S)
    assert refused.value.status == status
    assert len(api.requests) == 1
    await client.close()


async def test_patience_ends_and_the_message_names_the_last_trouble_but_no_secret(api: Api) -> None:
    async def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    api.answering = {"one": away, "other": away}
    client, _ = sender(api)
    with pytest.raises(NoAnswerError, match="ConnectError") as gave_up:
        await client.post("/v1/customers", {}, "key-1", patience_s=0.05)
    assert "mk_test_x" not in str(gave_up.value)
    await client.close()


async def test_who_did_not_answer_is_left_alone_for_a_while(api: Api) -> None:
    async def away(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    api.answering["one"] = away
    client, _ = sender(api)
    for number in range(6):
        await client.post("/v1/customers", {}, f"key-{number}", patience_s=PATIENCE_S)
    assert api.hosts.count("one") <= 1
    await client.close()


async def test_answers_that_were_given_before_are_counted(api: Api) -> None:
    replay = httpx.Response(201, json={"id": "cu_1"}, headers={"Idempotent-Replayed": "true"})
    api.answering = {"one": tells(replay), "other": tells(replay)}
    client, figures = sender(api)
    await client.post("/v1/customers", {}, "key-1", patience_s=PATIENCE_S)
    assert figures.replayed == 1
    await client.close()


async def test_a_closed_gate_holds_requests_and_says_when_none_is_under_way(api: Api) -> None:
    arrived, answer = asyncio.Event(), asyncio.Event()

    async def slow(request: httpx.Request) -> httpx.Response:
        arrived.set()
        await answer.wait()
        return await made(request)

    api.answering = {"one": slow, "other": slow}
    client, _ = sender(api)
    under_way = asyncio.create_task(client.post("/v1/customers", {}, "key-1", patience_s=PATIENCE_S))
    await arrived.wait()
    client.gate.close()
    held = asyncio.create_task(client.post("/v1/customers", {}, "key-2", patience_s=PATIENCE_S))
    still = asyncio.create_task(client.gate.still())
    passes = asyncio.create_task(client.post("/v1/test_clock", {}, "key-3", patience_s=1, gated=False))
    await asyncio.sleep(0)
    assert not still.done()
    answer.set()
    await asyncio.gather(under_way, still, passes)
    assert [request.headers["Idempotency-Key"] for request in api.requests] == ["key-1", "key-3"]
    assert not held.done()
    client.gate.open()
    assert (await held)["id"] == "cu_1"
    await client.close()


async def test_a_gate_through_which_nobody_went_is_still() -> None:
    await asyncio.wait_for(Gate().still(), 1)
