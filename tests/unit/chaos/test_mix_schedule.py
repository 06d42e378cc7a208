"""The schedule of the random mix is a function of its seed, and asks nothing impossible."""

import random
from collections.abc import Mapping
from itertools import combinations
from types import SimpleNamespace
from typing import Any, cast

from chaos.drive.stage import Stage
from chaos.drive.target import Need, Target
from chaos.faults.mixable import MixFault, Settings
from chaos.mix.schedule import RECOVERY_S, Strike, draw

TARGET = cast("Target", SimpleNamespace(replicas=["replica-1", "replica-2"], can=frozenset({Need.LINKS})))


async def _nothing(stage: Stage, settings: Settings, lasts_s: float) -> None:
    """Never called: a schedule is drawn without anything being struck."""
    raise AssertionError


def _kind(name: str, *, weight: int = 1, needs: frozenset[Need] = frozenset()) -> MixFault:
    def draw_victim(dice: random.Random, target: Target) -> Mapping[str, Any]:
        return {"whom": dice.choice(target.replicas)}

    return MixFault(
        name=name,
        weight=weight,
        lasts_s=(1.0, 6.0),
        draw=draw_victim,
        touches=lambda settings: frozenset({settings["whom"]}),
        inject=_nothing,
        needs=needs,
    )


KINDS = (_kind("kill", weight=5), _kind("freeze"), _kind("cut", needs=frozenset({Need.LINKS})))


def test_a_seed_means_the_same_schedule_every_time() -> None:
    assert draw(7, 120, KINDS, TARGET) == draw(7, 120, KINDS, TARGET)


def test_another_seed_means_another_schedule() -> None:
    assert draw(7, 120, KINDS, TARGET) != draw(8, 120, KINDS, TARGET)


def test_every_fault_begins_and_ends_within_the_duration() -> None:
    strikes = draw(3, 60, KINDS, TARGET)
    assert len(strikes) > 5
    assert all(strike.at_s > 0 and strike.at_s + strike.lasts_s <= 60 for strike in strikes)


def test_nothing_is_held_by_two_faults_at_once_and_different_things_are() -> None:
    strikes = draw(5, 600, KINDS, TARGET)
    pairs = list(combinations(strikes, 2))
    for first, second in pairs:
        if first.touches & second.touches:
            assert not _overlap(first, second, RECOVERY_S), (first, second)
    assert any(_overlap(first, second) for first, second in pairs)


def test_what_the_target_cannot_do_is_not_drawn() -> None:
    unable = cast("Target", SimpleNamespace(replicas=["replica-1"], can=frozenset()))
    assert {strike.name for strike in draw(1, 300, KINDS, unable)} == {"kill", "freeze"}


def test_a_heavier_kind_comes_more_often() -> None:
    names = [strike.name for strike in draw(1, 3000, KINDS, TARGET)]
    assert names.count("kill") > 2 * names.count("freeze") > 0


def _overlap(first: Strike, second: Strike, extra_s: float = 0.0) -> bool:
    """`first` is the earlier one."""
    return second.at_s < first.at_s + first.lasts_s + extra_s - 0.011  # both were rounded
