"""What scenarios about servers observe can turn out otherwise: each of them can fail."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest
from tests.support.virtual_time import in_virtual_time

from chaos.drive.access import Access
from chaos.drive.eyes import Eyes, Leader, TermRow
from chaos.drive.record import Fault, Record, now
from chaos.drive.stage import NotSeenError, Stage
from chaos.drive.target import Target
from chaos.scenarios import postgres
from chaos.scenarios.darkness import expect_api_serves, expect_darkness

LEADER = Leader("replica-1", 7)
ACCESS = Access(
    api_urls=("http://api-1", "http://api-2"),
    api_key="mk_test_x",
    database_url="",
    judge_database_url="",
    sandbox_url="http://sandbox",
    sandbox_api_key="",
    sandbox_admin_key="",
)


@dataclass
class Scene:
    """What the eyes of a scenario see here, told beforehand; whatever is asked for more often than told repeats."""

    confirms: Sequence[int] = (5,)
    newest: int = LEADER.term
    leads: Leader | None = None
    api: Sequence[int] = (201, 200)
    terms_seen: Sequence[TermRow] = ()
    committed: Sequence[tuple[int, int, int]] = ()
    keys: set[tuple[str, str]] = field(default_factory=set)
    _asked: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def newest_term(self) -> int:
        return self.newest

    async def leader(self) -> Leader | None:
        return self.leads

    async def terms(self, *, after: int) -> list[TermRow]:
        return [term for term in self.terms_seen if term.number > after]

    async def fetch(self, _query: str, _parameter: object) -> list[dict[str, Any]]:
        return [
            dict(zip(("newest", "events", "settled"), self._next("committed", self.committed), strict=True))
        ]

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "sandbox":
            counts = {"200": self._next("confirms", self.confirms)}
            return httpx.Response(200, json={"requests": {"payment_intents.confirm": counts}})
        if request.method != "POST":
            return httpx.Response(self.api[1])
        self.keys.add((request.headers["Idempotency-Key"], request.url.host))
        return httpx.Response(self.api[0])

    def _next(self, what: str, told: Sequence[Any]) -> Any:
        number = self._asked[what] = self._asked.get(what, -1) + 1
        return told[min(number, len(told) - 1)]

    def stage(self) -> Stage:
        """A stage on which a scenario sees this."""
        target = cast("Target", SimpleNamespace(access=ACCESS))
        return Stage("scene", target, cast("Eyes", self), Record(), random.Random(1))


def a_fault() -> Fault:
    return Fault(1, "scene", "kill", "etcd-1, etcd-2", now())


def a_term(number: int, ended_at: datetime | None = None) -> TermRow:
    return TermRow(number, "replica-1", now(), ended_at, "stopped" if ended_at else None)


@in_virtual_time
async def test_darkness_is_seen_when_nobody_asks_the_processor_and_nobody_leads() -> None:
    stage = Scene().stage()
    await expect_darkness(stage, LEADER, now(), a_fault())
    assert [each.made for each in stage.record.observations] == [True, True]


@pytest.mark.parametrize(
    "scene",
    [
        Scene(confirms=(5, 6)),
        Scene(newest=LEADER.term + 1),
        Scene(leads=LEADER),
    ],
    ids=["a charge", "a new term", "a leader"],
)
def test_whoever_acts_in_the_dark_is_seen(scene: Scene) -> None:
    @in_virtual_time
    async def play() -> None:
        with pytest.raises(NotSeenError):
            await expect_darkness(scene.stage(), LEADER, now(), a_fault())

    play()


@in_virtual_time
async def test_an_api_that_reads_and_does_not_write_does_not_serve() -> None:
    await expect_api_serves(Scene().stage(), a_fault())
    with pytest.raises(NotSeenError):
        await expect_api_serves(Scene(api=(503, 200)).stage(), a_fault())


@in_virtual_time
async def test_each_instance_of_the_api_has_to_write_something_of_its_own() -> None:
    scene = Scene()
    await expect_api_serves(scene.stage(), a_fault())
    assert len({key for key, _ in scene.keys}) == len({host for _, host in scene.keys}) == 2


@in_virtual_time
async def test_a_commit_that_is_gone_is_seen() -> None:
    await observe_lost((100, 90, 30), (100, 90, 30))
    await observe_lost((100, 90, 30), (100, 91, 31))  # in flight before, and visible after
    for less in ((100, 89, 30), (100, 90, 29)):
        with pytest.raises(NotSeenError):
            await observe_lost((100, 90, 30), less)


async def observe_lost(before: tuple[int, int, int], after: tuple[int, int, int]) -> None:
    stage = Scene(committed=(after,)).stage()
    await postgres._observe_nothing_lost(stage, postgres.Committed(*before), a_fault())  # the step alone


@in_virtual_time
async def test_a_term_that_ended_or_was_followed_is_not_kept() -> None:
    await observe_kept(a_term(6, now()), a_term(7))
    for terms in ((a_term(7, datetime.now(UTC)),), (a_term(7), a_term(8))):
        with pytest.raises(NotSeenError):
            await observe_kept(*terms)


async def observe_kept(*terms: TermRow) -> None:
    await postgres._observe_same_term(Scene(terms_seen=terms).stage(), LEADER, a_fault())  # the step alone
