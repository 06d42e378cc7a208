"""Faults of etcd and PostgreSQL in the mix: drawn from the dice alone, and never two on one server at once."""

import asyncio
import json
import random
from typing import cast

import pytest
from tests.support.virtual_time import in_virtual_time

from chaos.drive.target import Target
from chaos.faults import etcd, postgres
from chaos.faults.etcd import lasting, majority
from chaos.faults.mixable import MixFault

KINDS = {kind.name: kind for kind in (*etcd.MIX, *postgres.MIX)}
SEEDS = range(50)


class Layout:
    """A target to draw for; nothing else of it may be looked at."""

    def __init__(self, members: int = 3) -> None:
        self.etcd_members = [f"etcd-{number}" for number in range(1, members + 1)]


def layout(members: int = 3) -> Target:
    return cast("Target", Layout(members))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_seed_means_the_same_fault_everywhere_and_can_be_written_down(kind: MixFault) -> None:
    for seed in SEEDS:
        first, again = (dict(kind.draw(random.Random(seed), layout())) for _ in range(2))
        assert first == again == json.loads(json.dumps(first))


@pytest.mark.parametrize("kind", etcd.MIX, ids=lambda kind: kind.name)
def test_two_faults_of_etcd_are_never_struck_at_once(kind: MixFault) -> None:
    assert kind.touches(kind.draw(random.Random(1), layout())) == {"etcd"}


@pytest.mark.parametrize("kind", postgres.MIX, ids=lambda kind: kind.name)
def test_two_faults_of_the_database_are_never_struck_at_once(kind: MixFault) -> None:
    assert kind.touches(kind.draw(random.Random(1), layout())) == {"postgres"}


@pytest.mark.parametrize("name", ["etcd-kill-member", "etcd-freeze-member"])
def test_every_member_of_etcd_gets_its_turn(name: str) -> None:
    drawn = {KINDS[name].draw(random.Random(seed), layout())["whom"] for seed in SEEDS}
    assert drawn == {"etcd-1", "etcd-2", "etcd-3"}


@pytest.mark.parametrize(("members", "enough"), [(1, 1), (3, 2), (5, 3)])
def test_a_majority_is_as_many_as_the_others_cannot_do_without(members: int, enough: int) -> None:
    for seed in SEEDS:
        chosen = majority(layout(members), random.Random(seed))
        assert len(set(chosen)) == enough
        assert set(chosen) <= set(layout(members).etcd_members)


def test_the_quorum_is_lost_to_dead_members_and_to_frozen_ones() -> None:
    kind = KINDS["etcd-lose-quorum"]
    assert {kind.draw(random.Random(seed), layout())["by"] for seed in SEEDS} == {"kill", "freeze"}


def test_bursts_end_some_sessions_or_all_and_leave_time_in_between() -> None:
    kind = KINDS["postgres-end-sessions"]
    for seed in SEEDS:
        settings = kind.draw(random.Random(seed), layout())
        assert 0 < settings["share"] <= 1
        assert 0 < settings["pause_s"] <= kind.lasts_s[1]


@in_virtual_time
async def test_a_fault_lasts_as_long_as_was_drawn_or_until_it_was_seen_if_that_takes_longer() -> None:
    loop = asyncio.get_running_loop()
    for seen_after_s, lasts_s in ((1.0, 4.0), (6.0, 6.0)):
        began_s = loop.time()
        async with lasting(4.0):
            await asyncio.sleep(seen_after_s)
        assert loop.time() - began_s == pytest.approx(lasts_s)
