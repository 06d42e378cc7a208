"""Single writes to single instances of the API, as scenarios about the API make them, and what became of them."""

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx

from chaos.drive.access import Access
from chaos.drive.record import Fault
from chaos.drive.stage import NotSeenError, Stage

TIMEOUT_S = 20.0
PATIENCE_S = 30.0
"""A frozen transaction holds its rows for up to ten seconds, and who waits for one is sent away after five."""
PAUSE_S = 0.25
_INDEFINITE = frozenset({429, 500, 502, 503, 504})
_IN_USE = "idempotency-key-in-use"
_SUBSCRIBED = "SELECT customer_id, array_agg(id) FROM subscriptions WHERE customer_id = ANY($1) GROUP BY 1"
_CUSTOMERS = "SELECT email, array_agg(id) FROM customers WHERE email = ANY($1) GROUP BY 1"


@dataclass(frozen=True, slots=True)
class Write:
    """A POST that may be repeated: its key goes with it."""

    path: str
    body: Mapping[str, Any]
    key: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered; `replayed`: the API says that it answered so before."""

    status: int
    content: Mapping[str, Any]
    replayed: bool

    @property
    def id(self) -> str:
        """Of what was made; raises `NotSeenError` where nothing was."""
        if self.status >= 400:
            raise NotSeenError(f"refused with {self.status}: {self.content.get('detail', '')}")
        return str(self.content["id"])

    @property
    def is_definite(self) -> bool:
        """Whether repeating would change nothing."""
        if self.status == 409:
            return _IN_USE not in str(self.content.get("type", ""))
        return self.status not in _INDEFINITE


class Writes:
    """Sends writes; leaving it calls off what is under way and closes its connections."""

    def __init__(self, access: Access) -> None:
        self.urls = access.api_urls
        self._http = httpx.AsyncClient(
            headers={"Authorization": f"Bearer {access.api_key}"}, timeout=TIMEOUT_S, trust_env=False
        )
        self._begun: list[asyncio.Task[Answer | None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._begun:
            task.cancel()
        await asyncio.gather(*self._begun, return_exceptions=True)
        await self._http.aclose()

    def begin(self, url: str, write: Write) -> "asyncio.Task[Answer | None]":
        """Send it, and do not wait: `once` as a task, which is called off at the latest on leaving."""
        task = asyncio.create_task(self.once(url, write))
        self._begun.append(task)
        return task

    async def once(self, url: str, write: Write) -> Answer | None:
        """The answer, definite or not; None when the connection ended without one."""
        try:
            answer = await self._http.post(
                f"{url}{write.path}", json=dict(write.body), headers={"Idempotency-Key": write.key}
            )
            content: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError):
            return None
        return Answer(answer.status_code, content, answer.headers.get("Idempotent-Replayed") == "true")

    async def definite(self, url: str, write: Write, patience_s: float = PATIENCE_S) -> Answer:
        """The definite answer of one instance, after as many repeats as it takes; raises `NotSeenError`."""
        told = "nothing"
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    answer = await self.once(url, write)
                    if answer is not None and answer.is_definite:
                        return answer
                    told = (
                        "nothing" if answer is None else f"{answer.status} {answer.content.get('detail', '')}"
                    )
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            raise NotSeenError(
                f"POST {write.path} has no definite answer after {patience_s:g} s: {told}"
            ) from None

    async def all(self, url: str, writes: Sequence[Write], patience_s: float = PATIENCE_S) -> list[Answer]:
        """The definite answers to all of them, sent at once."""
        return list(await asyncio.gather(*(self.definite(url, each, patience_s) for each in writes)))


def email(stage: Stage) -> str:
    """Somebody new's."""
    return f"{stage.scenario}-{uuid.uuid4().hex[:12]}@example.com"


def customer(address: str) -> Write:
    """A customer who pays."""
    return Write("/v1/customers", {"email": address, "payment_method": "pm_card_visa"})


def subscription(customer_id: str, plan_id: str) -> Write:
    """One subscription, from now on."""
    return Write("/v1/subscriptions", {"customer_id": customer_id, "plan_id": plan_id, "time_zone": "UTC"})


async def observe_one_subscription_each(
    stage: Stage, wanted: Sequence[Write], told: Sequence[Answer], fault: Fault
) -> None:
    """Note that each customer has the one subscription that was told, and no other."""
    asked = {str(write.body["customer_id"]): [answer.id] for write, answer in zip(wanted, told, strict=True)}
    found = {row[0]: row[1] for row in await stage.eyes.fetch(_SUBSCRIBED, list(asked))}
    _observe_equal(stage, "each customer has the one subscription that was told", asked, found, fault)


async def observe_one_customer_each(
    stage: Stage, wanted: Sequence[Write], told: Sequence[Answer], fault: Fault
) -> None:
    """Note that each e-mail is one customer, here and at the processor."""
    asked = {str(write.body["email"]): [answer.id] for write, answer in zip(wanted, told, strict=True)}
    found = {row[0]: row[1] for row in await stage.eyes.fetch(_CUSTOMERS, list(asked))}
    _observe_equal(stage, "each e-mail is the one customer that was told", asked, found, fault)
    there = {
        address: [row["metadata"]["customer_id"] for row in await _at_processor(stage, address)]
        for address in asked
    }
    _observe_equal(stage, "and that one customer at the processor", asked, there, fault)


def _observe_equal(
    stage: Stage, expected: str, asked: Mapping[str, object], found: Mapping[str, object], fault: Fault
) -> None:
    wrong = [name for name, ids in asked.items() if found.get(name) != ids]
    stage.observe(
        expected,
        not wrong,
        f"{len(asked)} asked for, {len(wrong)} wrong {' '.join(wrong[:3])}".strip(),
        fault,
    )


async def _at_processor(stage: Stage, address: str) -> list[dict[str, Any]]:
    access = stage.target.access
    answer = await stage.eyes.http.get(
        f"{access.sandbox_url}/v1/customers",
        params={"email": address, "limit": 10},
        headers={"Authorization": f"Bearer {access.sandbox_api_key}"},
    )
    found: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    return found
