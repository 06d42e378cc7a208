"""The mix strikes each fault at its instant, never two on the same thing, and says what became of each."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any, cast

import pytest

from chaos.drive.eyes import Eyes, Leader
from chaos.drive.record import Record
from chaos.drive.stage import NotSeenError, Skipped, Stage
from chaos.drive.target import Target
from chaos.faults.mixable import LEADER, MixFault, Settings
from chaos.mix import play as playing
from chaos.mix.play import MixFailedError, play
from chaos.mix.schedule import Strike

Inject = Callable[[Stage, Settings, float], Coroutine[Any, Any, None]]


class LeadingEyes:
    """`replica-2` leads."""

    async def leader(self, *, after_term: int = 0) -> Leader | None:
        return Leader("replica-2", after_term + 1)


def a_stage() -> Stage:
    return Stage(
        "random",
        cast("Target", None),
        cast("Eyes", LeadingEyes()),
        Record(),
        random.Random(1),
    )


def a_strike(number: int, at_s: float, *touches: str, whom: str | None = None) -> Strike:
    settings = {} if whom is None else {"whom": whom}
    return Strike(number, at_s, 0.1, "fault", settings, frozenset(touches or {cast("str", whom)}))


@pytest.fixture
def injecting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Inject], None]:
    """Makes this what every fault of the schedule does."""

    def use(inject: Inject) -> None:
        fault = MixFault(
            name="fault",
            weight=1,
            lasts_s=(0.1, 0.1),
            draw=lambda dice, target: {},
            touches=lambda settings: frozenset(),
            inject=inject,
        )
        monkeypatch.setattr(playing, "kind", lambda name: fault)

    return use


async def test_a_fault_that_outlasts_its_time_keeps_others_off_what_it_holds(
    injecting: Callable[[Inject], None],
) -> None:
    release, two_are_in, entered = asyncio.Event(), asyncio.Event(), 0

    async def inject(stage: Stage, settings: Settings, lasts_s: float) -> None:
        nonlocal entered
        entered += 1
        if entered == 2:
            two_are_in.set()
        await release.wait()

    injecting(inject)
    stage = a_stage()
    schedule = [a_strike(1, 0.0, "sandbox"), a_strike(2, 0.02, "sandbox"), a_strike(3, 0.04, "etcd")]
    performance = asyncio.create_task(play(stage, schedule))
    async with asyncio.timeout(5):
        await two_are_in.wait()
        release.set()
        await performance
    assert entered == 2
    [observation] = stage.record.observations
    assert observation.seen == "2 of 3 struck; passed over: #2 fault: sandbox was in other hands"


async def test_who_leads_is_found_out_when_the_fault_is_struck(injecting: Callable[[Inject], None]) -> None:
    hurt: list[str] = []

    async def inject(stage: Stage, settings: Settings, lasts_s: float) -> None:
        hurt.append(settings["whom"])
        await asyncio.sleep(0.05)

    injecting(inject)
    stage = a_stage()
    schedule = [
        a_strike(1, 0.0, whom="replica-1"),
        a_strike(2, 0.0, whom=LEADER),
        a_strike(3, 0.02, whom="replica-2"),
    ]
    await play(stage, schedule)
    assert sorted(hurt) == ["replica-1", "replica-2"], "the third is in the hands of the second"


async def test_a_fault_that_did_not_bite_fails_the_mix_after_the_others_were_struck(
    injecting: Callable[[Inject], None],
) -> None:
    struck: list[str] = []

    async def inject(stage: Stage, settings: Settings, lasts_s: float) -> None:
        if settings["whom"] == "blunt":
            raise NotSeenError("it did nothing")
        if settings["whom"] == "impossible":
            raise Skipped("not on this machine")
        struck.append(settings["whom"])

    injecting(inject)
    schedule = [a_strike(n, n / 100, whom=whom) for n, whom in enumerate(("blunt", "impossible", "sharp"))]
    with pytest.raises(MixFailedError, match=r"1 of 3 struck.*not on this machine.*it did nothing"):
        await play(a_stage(), schedule)
    assert struck == ["sharp"]


async def test_a_mix_in_which_hardly_anything_could_be_struck_proves_nothing(
    injecting: Callable[[Inject], None],
) -> None:
    async def inject(stage: Stage, settings: Settings, lasts_s: float) -> None:
        raise Skipped("not on this machine")

    injecting(inject)
    with pytest.raises(NotSeenError, match="0 of 2 struck"):
        await play(a_stage(), [a_strike(1, 0.0, whom="a"), a_strike(2, 0.0, whom="b")])
