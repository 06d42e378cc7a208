"""The workload of a run."""

import asyncio
import random
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Self

import httpx

from chaos.demo.population import plans
from chaos.drive.access import Access
from chaos.judge.judging import connect
from chaos.workload.book import Book
from chaos.workload.clients import Clients
from chaos.workload.figures import Figures
from chaos.workload.findings import compare, read_rows
from chaos.workload.population import Crowd, spread
from chaos.workload.sending import TIMEOUT_S, NoAnswerError, RefusedError, Sender

WORKERS = 8
ACTS_PER_S = 8.0
MAX_PENDING = 48
"""Acts that wait for an answer; while so many do, nobody else acts."""
BEGIN_TIMEOUT_S = 120.0
CLOCK_PATIENCE_S = 60.0
QUIET_TIMEOUT_S = 15.0
_POLL_S = 0.05
_DAY = timedelta(days=1)
_IN_FLIGHT = re.compile(r"^middleman_api_in_flight ([0-9.]+)$", re.MULTILINE)


class WorkloadError(Exception):
    """The workload cannot begin or go on; the message says why."""


class Workload:
    """Keeps a system busy from outside. Enter it inside a running event loop; leaving it closes all connections.

    At the default rate a day lasts ten seconds, so that four hundred subscribers make forty charges a second.
    """

    def __init__(
        self,
        access: Access,
        *,
        seed: int,
        subscribers: int = 400,
        clock_rate: float = 8640.0,
        say: Callable[[str], None] = lambda _: None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._access = access
        self._subscribers = subscribers
        self._clock_rate = clock_rate
        self._say = say
        self._dice = random.Random(f"workload:{seed}")  # noqa: S311  # repeatable on purpose; no secret depends on it
        self._crowd = Crowd(seed, f"chaos-{uuid.uuid4().hex[:12]}")
        self._book = Book()
        self._figures = Figures()
        self._sender = Sender(
            access.api_urls, access.api_key, dice=self._dice, figures=self._figures, transport=transport
        )
        self._clients: Clients | None = None

    @property
    def figures(self) -> dict[str, int]:
        """What it has done so far, by the names of `chaos.workload.figures.Figures`."""
        return self._figures.to_json()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sender.close()

    async def begin(self) -> None:
        """Offer the plans, let the first subscribers in while the clock stands, then let it run.

        Their first periods are spread over one virtual day. Raises `WorkloadError`.
        """
        try:
            async with asyncio.timeout(BEGIN_TIMEOUT_S):
                opens = await self._set_clock(0.0)
                drafts = self._crowd.drafts()
                clients = Clients(self._sender, self._book, self._figures, self._dice, drafts, ())
                plan_ids = [await clients.offer(plan) for plan in plans()]
                self._clients = clients = replace(clients, plan_ids=plan_ids)
                anchors = iter(spread(opens, self._subscribers, _DAY))
                await asyncio.gather(*(_enter(clients, anchors) for _ in range(WORKERS)))
                await self._set_clock(self._clock_rate)
        except TimeoutError:
            raise WorkloadError(
                f"only {self._book.subscribed} of {self._subscribers} subscribed in {BEGIN_TIMEOUT_S:g} s"
            ) from None
        except (NoAnswerError, RefusedError) as error:
            raise WorkloadError(f"the first subscribers cannot come in: {error}") from error
        self._say(f"{self._book.subscribed} subscribers are in")

    async def run(self) -> None:
        """Clients come, cancel and look until this is cancelled. Call `begin` before. Outages do not end it."""
        clients = self._clients
        if clients is None:
            raise WorkloadError("the workload has not begun: call begin() first")
        places = asyncio.Semaphore(MAX_PENDING)

        async def act() -> None:
            try:
                await clients.something(self._subscribers)
            finally:
                places.release()

        async with asyncio.TaskGroup() as acting:
            while True:
                await asyncio.sleep(self._dice.uniform(0.5, 1.5) / ACTS_PER_S)
                await places.acquire()
                acting.create_task(act())

    async def quiet(self) -> None:
        """Send nothing more; returns when nothing is under way, at the instances neither. Bounded.

        A request that was given up on may still be at work in an instance that was frozen meanwhile.
        """
        self._sender.gate.close()
        try:
            async with asyncio.timeout(QUIET_TIMEOUT_S):
                await self._sender.gate.still()
                async with httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False) as http:
                    for instance in self._sender.instances:
                        await _until_idle(http, instance.url)
        except TimeoutError:
            self._say(f"the API is still at work {QUIET_TIMEOUT_S:g} s after the last request")

    def loud(self) -> None:
        """Go on where `quiet` held everybody."""
        self._sender.gate.open()

    async def set_clock(self, rate: float) -> None:
        """Let the test clock run at `rate` virtual seconds per second; passes while it is quiet.

        Raises `WorkloadError` when nobody can be told for `CLOCK_PATIENCE_S`.
        """
        try:
            await self._set_clock(rate)
        except (NoAnswerError, RefusedError) as error:
            raise WorkloadError(f"the test clock cannot be set: {error}") from error

    async def findings(self) -> list[str]:
        """What is wrong with the clients' writes, in words; empty when all is well. Ask at rest.

        Raises `chaos.judge.judging.CannotJudgeError` or an asyncpg error when the database cannot be read.
        """
        connection = await connect(self._access.judge_database_url)
        try:
            rows = await read_rows(connection, self._crowd.emails_like)
        finally:
            connection.terminate()
        return compare(self._book, rows)

    async def _set_clock(self, rate: float) -> datetime:
        """The business time from which on the rate counts."""
        answer: dict[str, Any] = await self._sender.post(
            "/v1/test_clock",
            {"advance_s": 0, "rate": rate},
            str(uuid.uuid4()),
            patience_s=CLOCK_PATIENCE_S,
            gated=False,
        )
        return datetime.fromisoformat(answer["business_now"])


async def _enter(clients: Clients, anchors: Iterator[datetime]) -> None:
    for anchor in anchors:  # one iterator shared by all workers: each takes the next
        await clients.come(anchor)


async def _until_idle(http: httpx.AsyncClient, url: str) -> None:
    while await _busy(http, url):  # noqa: ASYNC110  # another process sets no event of ours
        await asyncio.sleep(_POLL_S)


async def _busy(http: httpx.AsyncClient, url: str) -> bool:
    """Whether an instance works on any request but this one; who refuses the connection works on none."""
    try:
        answer = await http.get(f"{url}/metrics")
    except httpx.ConnectError:
        return False
    except httpx.HTTPError:
        return True
    told = _IN_FLIGHT.search(answer.text)
    return told is not None and float(told[1]) > 1
