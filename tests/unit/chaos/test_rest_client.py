"""The demo's REST client repeats under one key, within bounds."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from chaos.demo import rest_client
from chaos.demo.population import plans
from chaos.demo.rest_client import MAX_TRIES, RestClient, RestError

Answer = httpx.Response | Exception


class Api:
    """Answers from a script, and remembers what it was asked."""

    def __init__(self, answers: Iterator[Answer]) -> None:
        self._answers = answers
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def keys(self) -> set[str]:
        return {request.headers["Idempotency-Key"] for request in self.requests}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries."""
    monkeypatch.setattr(rest_client, "FIRST_BACKOFF_S", 0.0)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[RestClient, Api]]:
    """A client whose server answers from a script."""

    def make(*answers: Answer) -> tuple[RestClient, Api]:
        api = Api(iter(answers))
        real = httpx.AsyncClient

        def client(**settings: Any) -> httpx.AsyncClient:
            return real(transport=httpx.MockTransport(api), **settings)

        monkeypatch.setattr(httpx, "AsyncClient", client)
        return RestClient("http://api", "mk_test_x", connections=1), api

    return make


def created() -> httpx.Response:
    return httpx.Response(201, json={"id": "pl_1"})


async def test_a_lost_answer_is_asked_for_again_under_the_same_key(scripted: Any) -> None:
    client, api = scripted(httpx.ReadError("gone"), httpx.Response(503), httpx.Response(409), created())
    assert await client.create_plan(plans()[0]) == "pl_1"
    assert len(api.requests) == 4
    assert len(api.keys) == 1
    assert len({request.content for request in api.requests}) == 1
    assert api.requests[0].headers["Authorization"] == "Bearer mk_test_x"


async def test_two_requests_have_two_keys(scripted: Any) -> None:
    client, api = scripted(created(), created())
    await client.create_plan(plans()[0])
    await client.create_plan(plans()[0])
    assert len(api.keys) == 2


async def test_a_refusal_is_not_repeated(scripted: Any) -> None:
    client, api = scripted(httpx.Response(422, json={"title": "no such currency"}))
    with pytest.raises(RestError, match=r"422.*no such currency"):
        await client.create_plan(plans()[0])
    assert len(api.requests) == 1


async def test_an_api_that_stays_away_is_given_up_on_after_a_bound(scripted: Any) -> None:
    client, api = scripted(*(httpx.ConnectError("refused") for _ in range(MAX_TRIES)))
    with pytest.raises(RestError, match="ConnectError"):
        await client.create_plan(plans()[0])
    assert len(api.requests) == MAX_TRIES
