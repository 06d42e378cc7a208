"""What scenarios about leaders observe: drawn from the dice alone, and able to turn out otherwise."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.support.virtual_time import in_virtual_time

from chaos.drive.eyes import Eyes, Leader
from chaos.drive.record import Fault, Record
from chaos.drive.stage import NotSeenError, Stage
from chaos.drive.target import Target
from chaos.scenarios.failpoints import POINTS, draw_points
from chaos.scenarios.freezes import FREEZES, slow_leader
from chaos.scenarios.leaders import LEADERS
from chaos.scenarios.partitions import PARTITIONS, over_by
from chaos.scenarios.witness import (
    Ended,
    expect_settled_later,
    expect_stood_down,
    observe_silence,
    revocations,
)

AT = datetime(2026, 1, 1, tzinfo=UTC)
OLD, NEW = Leader("replica-1", 7), Leader("replica-2", 8)
FAULT = Fault(1, "scene", "freeze", OLD.name, AT)


@dataclass
class Scene:
    """What a scenario's eyes see here: lines of log by replica, rows, and one value."""

    lines: Sequence[tuple[str, dict[str, Any]]] = ()
    rows: Sequence[dict[str, Any]] = ()
    left: int = 0

    def logged(self, replica: str, event: str, *, since: datetime, **values: object) -> list[dict[str, Any]]:
        assert since == AT
        return [
            line
            for name, line in self.lines
            if name == replica and line["event"] == event and values.items() <= line.items()
        ]

    async def fetch(self, _query: str, *_: object) -> Sequence[dict[str, Any]]:
        return self.rows

    async def value(self, _query: str, *_: object) -> int:
        return self.left

    def stage(self) -> Stage:
        """A stage on which a scenario sees this."""
        target = cast("Target", SimpleNamespace(replicas=["replica-1", "replica-2", "replica-3"]))
        return Stage("scene", target, cast("Eyes", self), Record(), random.Random(1))


def an_end(reason: str) -> tuple[str, dict[str, Any]]:
    line = {"event": "term.ended", "token": OLD.term, "reason": reason, "timestamp": AT.isoformat()}
    return OLD.name, line


def test_every_failpoint_kills_once_at_a_time_that_the_dice_say() -> None:
    for seed in range(20):
        points = draw_points(random.Random(seed))
        assert points == draw_points(random.Random(seed))
        assert sorted(point for point, _ in points) == sorted(POINTS)
        for point, failpoint in points:
            name, _, count = failpoint.partition("=kill@")
            assert name == point
            assert POINTS[point][0] <= int(count) <= POINTS[point][1]


@in_virtual_time
async def test_a_leader_that_stands_down_for_another_reason_is_seen() -> None:
    told = await expect_stood_down(Scene([an_end("the lease is gone")]).stage(), OLD, FAULT, words=("lease",))
    assert told == Ended(AT, "the lease is gone")
    with pytest.raises(NotSeenError, match="stopped"):
        await expect_stood_down(Scene([an_end("stopped")]).stage(), OLD, FAULT, words=("lease",))


@in_virtual_time
async def test_a_leader_that_never_says_that_it_is_over_is_seen() -> None:
    with pytest.raises(NotSeenError, match="not within"):
        await expect_stood_down(Scene().stage(), OLD, FAULT, words=("lease",))


@in_virtual_time
async def test_a_stale_term_that_writes_is_seen() -> None:
    await observe_silence(Scene().stage(), OLD, NEW, FAULT)
    late = Scene(rows=[{"kind": "attempt.settled", "count": 2}])
    with pytest.raises(NotSeenError, match="2 x attempt"):
        await observe_silence(late.stage(), OLD, NEW, FAULT)


@in_virtual_time
async def test_an_attempt_that_nobody_settles_later_is_seen() -> None:
    await expect_settled_later(Scene(left=0).stage(), ["at_1"], OLD, FAULT)
    with pytest.raises(NotSeenError):
        await expect_settled_later(Scene(left=1).stage(), ["at_1"], OLD, FAULT)


class _Stuttering(Scene):
    """A leader that charges in bursts; `terms_after` began since."""

    terms_after: Sequence[int] = ()

    async def leader(self, *, after_term: int = 0) -> Leader | None:
        return OLD if OLD.term > after_term else None

    async def clock(self) -> datetime:
        return AT

    async def newest_event(self) -> int:
        return 1

    async def settled(self, **_: int) -> int:
        return 1

    async def terms(self, *, after: int) -> list[SimpleNamespace]:
        return [SimpleNamespace(number=number) for number in self.terms_after if number > after]

    async def nothing(self, _: str) -> None:
        """Pausing and resuming."""


@pytest.mark.parametrize("terms_after", [(), (OLD.term + 1,)])
def test_a_leader_that_stutters_may_not_lose_its_term(terms_after: Sequence[int]) -> None:
    scene = _Stuttering(rows=[{"pause_s": pause_s} for pause_s in (0.5, *[0.01] * 9) * 8])
    scene.terms_after = terms_after
    stage = scene.stage()
    stage.target = cast("Target", SimpleNamespace(pause=scene.nothing, resume=scene.nothing))

    @in_virtual_time
    async def play() -> None:
        await slow_leader(stage)

    if not terms_after:
        play()
        return
    with pytest.raises(NotSeenError, match=r"do not overthrow it: then terms \[8\]"):
        play()


def test_only_who_took_a_lease_first_counts_as_its_taker() -> None:
    line = {"event": "leader.revoked", "leader": "replica-1#x", "first": True}
    scene = Scene([("replica-2", line), ("replica-3", line | {"first": False})])
    assert [each["by"] for each in revocations(scene.stage(), FAULT)] == ["replica-2"]


def test_a_term_is_over_when_its_trust_ran_out_however_late_that_is_noticed() -> None:
    late = Ended(AT, "the lease was not renewed in time (trust ran out 1.250 s ago)")
    assert over_by(late) == AT - timedelta(seconds=1.25)
    assert over_by(Ended(AT, "the election key was deleted")) == AT


def test_every_scenario_has_a_name_of_its_own_and_says_in_a_sentence_what_it_shows() -> None:
    scenarios = [*LEADERS, *FREEZES, *PARTITIONS]
    assert len({each.name for each in scenarios}) == len(scenarios) == 23
    assert all(each.shows and each.shows[0].islower() and not each.shows.endswith(".") for each in scenarios)
