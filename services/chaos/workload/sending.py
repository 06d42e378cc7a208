"""One request until its answer is definite: repeated under the same key, at another instance, with growing pauses.

Each connection is an httpx client of its own, as in the demo's client and for its reason: httpx walks over its whole
pool for every request.
"""

import asyncio
import random
import ssl
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import httpx

from chaos.workload.figures import Figures

CONNECTIONS = 6
TIMEOUT_S = 5.0
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 2.0
SHUNNED_S = 1.0
"""Who did not answer is asked last for so long: clients stand behind something that knows who is well."""
_WORTH_REPEATING = frozenset({408, 429, 500, 502, 503, 504})
_IN_USE = "idempotency-key-in-use"


class RefusedError(Exception):
    """A definite no: repeating would not help. `status` is 4xx."""

    def __init__(self, method: str, path: str, status: int, why: str) -> None:
        super().__init__(f"{method} {path} was refused with {status}: {why}")
        self.status = status


class NoAnswerError(Exception):
    """No definite answer for as long as anybody was willing to wait; the request may have taken effect."""


@dataclass(slots=True)
class Instance:
    """One process of the API, with a bounded number of connections to it."""

    url: str
    free: asyncio.LifoQueue[httpx.AsyncClient]
    shunned_until_s: float = 0.0


@dataclass(slots=True)
class Gate:
    """Open or closed; nothing new is sent while it is closed, and it knows when nothing is under way."""

    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _still: asyncio.Event = field(default_factory=asyncio.Event)
    _under_way: int = 0

    def __post_init__(self) -> None:
        self._open.set()
        self._still.set()

    def open(self) -> None:
        """Let requests through."""
        self._open.set()

    def close(self) -> None:
        """Hold them from here on."""
        self._open.clear()

    async def still(self) -> None:
        """Wait until nothing is under way."""
        await self._still.wait()

    async def __aenter__(self) -> None:
        while not self._open.is_set():
            await self._open.wait()
        self._under_way += 1
        self._still.clear()

    async def __aexit__(self, *_: object) -> None:
        self._under_way -= 1
        if not self._under_way:
            self._still.set()


class Sender:
    """Sends to all instances of the API in turn. Open it inside a running event loop, and `close` it there."""

    def __init__(
        self,
        urls: Sequence[str],
        api_key: str,
        *,
        dice: random.Random,
        figures: Figures,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        certificates = ssl.create_default_context()  # one for all: loading them takes longer than a request
        self._dice = dice
        self._figures = figures
        self._turn = 0
        self.gate = Gate()
        self.instances = tuple(Instance(url, asyncio.LifoQueue()) for url in urls)
        self._clients: list[httpx.AsyncClient] = []
        for instance in self.instances:
            for _ in range(CONNECTIONS):
                client = httpx.AsyncClient(
                    base_url=instance.url,
                    headers={"Authorization": f"Bearer {api_key}"},
                    timeout=TIMEOUT_S,
                    limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
                    verify=certificates,
                    transport=transport,
                    trust_env=False,  # no proxy between us and a process on this machine
                )
                self._clients.append(client)
                instance.free.put_nowait(client)

    async def close(self) -> None:
        """Close every connection."""
        for client in self._clients:
            await client.aclose()

    async def post(
        self, path: str, body: Mapping[str, Any], key: str, *, patience_s: float, gated: bool = True
    ) -> dict[str, Any]:
        """The answer to a write under that key; `gated` False passes a closed gate.

        Raises `RefusedError`, or `NoAnswerError` after `patience_s` without a definite answer; the time for which a
        closed gate held it does not count.
        """
        return await self._definite("POST", path, body, {"Idempotency-Key": key}, patience_s, gated=gated)

    async def get(self, path: str, *, patience_s: float) -> dict[str, Any]:
        """The answer to a read. Raises as `post` does."""
        return await self._definite("GET", path, None, {}, patience_s, gated=True)

    async def _definite(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        patience_s: float,
        *,
        gated: bool,
    ) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        last_try_at_s = loop.time() + patience_s
        instance, tries, told = self._next(None), 0, ""
        while True:
            if tries:
                await self._pause(tries)
                if loop.time() > last_try_at_s:
                    raise NoAnswerError(f"{method} {path}: {told} after {tries} tries in {patience_s:g} s")
                last, instance = instance, self._next(instance)
                self._figures.repeated += 1
                self._figures.elsewhere += instance is not last
            tries += 1
            try:
                held_since_s = loop.time()
                async with self.gate if gated else nullcontext():
                    last_try_at_s += loop.time() - held_since_s  # who may not ask waits for no answer
                    answer = await self._exchange(instance, method, path, body, headers)
            except (httpx.HTTPError, TimeoutError) as error:
                instance.shunned_until_s = loop.time() + SHUNNED_S
                told = f"{type(error).__name__} from {instance.url}"
                continue
            if answer.is_success:
                self._figures.replayed += answer.headers.get("Idempotent-Replayed") == "true"
                content: dict[str, Any] = answer.json()
                return content
            told = f"{answer.status_code} from {instance.url}"
            if not _worth_repeating(answer):
                raise RefusedError(method, path, answer.status_code, answer.text[:300])

    async def _exchange(
        self,
        instance: Instance,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
    ) -> httpx.Response:
        async with asyncio.timeout(TIMEOUT_S):
            client = await instance.free.get()
        try:
            content = dict(body) if body is not None else None
            return await client.request(method, path, json=content, headers=dict(headers))
        finally:
            instance.free.put_nowait(client)

    def _next(self, but: Instance | None) -> Instance:
        """One that is not shunned, and another than `but`, as far as there is such a one; these in turn."""
        now_s = asyncio.get_running_loop().time()
        well = [each for each in self.instances if each.shunned_until_s <= now_s]
        others = [each for each in well if each is not but] or well
        others = others or [each for each in self.instances if each is not but] or list(self.instances)
        self._turn += 1
        return others[self._turn % len(others)]

    async def _pause(self, tries: int) -> None:
        ceiling_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(tries, 10))
        await asyncio.sleep(self._dice.uniform(ceiling_s / 2, ceiling_s))


def _worth_repeating(answer: httpx.Response) -> bool:
    """Whether the answer says nothing definite: 409 does, unless the first request is still at work."""
    if answer.status_code == 409:
        return _IN_USE in answer.text
    return answer.status_code in _WORTH_REPEATING
