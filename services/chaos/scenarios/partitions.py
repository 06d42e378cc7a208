"""Leaders that are cut off: from one thing that they need or from all, in one direction, and again and again."""

import re
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import EVERYTHING, Need, Side
from chaos.faults.links import broken, cut
from chaos.scenarios.flapping import flap
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.suspicion import lose_sight, suspect_wrongly
from chaos.scenarios.witness import Ended, began, expect_stood_down, observe_silence, seconds_between

GROUP = "partitions"
_OVERDUE = re.compile(r"trust ran out ([0-9.]+) s ago")
PATIENT_S = 60.0
"""Who lacks its database or its processor tries for ten seconds, and what was held may take ten to be given up."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What a leader is cut off from, and what it then gives its term up for: words of its reason.

    `ends_first`: it says that its term is over before the next one begins. Its trust is over by then in any case, but
    who has to break sessions off, because nothing passes to the database either, says so half a second late.
    """

    sides: tuple[Side, ...]
    words: tuple[str, ...]
    ends_first: bool = True


ETCD = Lack((Side.ETCD,), ("lease", "election key"))
POSTGRES = Lack((Side.POSTGRES,), ("the database was away",))
PROCESSOR = Lack((Side.PROCESSOR,), ("processor",))
ALL = Lack(EVERYTHING, ("lease", "election key"), ends_first=False)


async def isolate(
    stage: Stage, lack: Lack, fault_of: Callable[[str], AbstractAsyncContextManager[Fault]]
) -> None:
    """Cut the leader off, and see it give way before anybody follows it in office."""
    leader = await stage.leader()
    async with fault_of(leader.name) as fault:
        successor = await stage.expect_successor(leader, fault, patience_s=PATIENT_S)
        ended = await expect_stood_down(stage, leader, fault, words=lack.words)
        if lack.ends_first:
            over = over_by(ended)
            spare_s = seconds_between(over, await began(stage, successor.term))
            stage.observe(
                "it is over for the old leader before it begins for the new one",
                spare_s > 0,
                f"{spare_s:.3f} s before, {seconds_between(fault.began_at, over):.2f} s after the cut",
                fault,
            )
        alive = stage.target.is_running(leader.name)
        stage.observe(f"{leader.name} lives through it", alive, "it runs" if alive else "it is gone", fault)
    await observe_silence(stage, leader, successor, fault)


def over_by(ended: Ended) -> datetime:
    """When it was over at the latest: a busy process notices late that its trust ran out, but knows since when."""
    overdue = _OVERDUE.search(ended.reason)
    return ended.at - timedelta(seconds=float(overdue[1])) if overdue else ended.at


def _whole(lack: Lack) -> Callable[[Stage], Coroutine[Any, Any, None]]:
    async def play(stage: Stage) -> None:
        await isolate(stage, lack, lambda name: cut(stage, name, *lack.sides))

    return play


def _one_sided(lack: Lack, mode: str) -> Callable[[Stage], Coroutine[Any, Any, None]]:
    async def play(stage: Stage) -> None:
        await isolate(stage, lack, lambda name: broken(stage, name, mode, *lack.sides))

    return play


def _partition(name: str, lack: Lack, shows: str) -> Scenario:
    return Scenario(name=name, group=GROUP, shows=shows, play=_whole(lack), limit_s=120.0)


def _half(name: str, lack: Lack, mode: str, shows: str) -> Scenario:
    return Scenario(
        name=f"{name}-{mode}",
        group=GROUP,
        shows=shows,
        play=_one_sided(lack, mode),
        needs=frozenset({Need.LINKS}),
        limit_s=120.0,
    )


PARTITIONS: tuple[Scenario, ...] = (
    _partition(
        "partition-etcd",
        ETCD,
        "a leader that cannot reach etcd stops before its lease is over, and only then another one leads",
    ),
    _half("partition-etcd", ETCD, "mute", "a leader that etcd does not hear stops before its lease is over"),
    _half(
        "partition-etcd",
        ETCD,
        "deaf",
        "a leader that etcd hears but cannot answer does not trust a lease that nobody confirms to it",
    ),
    _partition(
        "partition-postgres",
        POSTGRES,
        "a leader that alone cannot reach the database gives way to one that can",
    ),
    _half(
        "partition-postgres",
        POSTGRES,
        "mute",
        "a leader that the database does not hear gives way; what it had begun there holds up nobody",
    ),
    _half(
        "partition-postgres",
        POSTGRES,
        "deaf",
        "a leader whose writes arrive but are not confirmed gives way; what it wrote is not written twice",
    ),
    _partition(
        "partition-processor",
        PROCESSOR,
        "a leader that alone cannot reach the processor gives way to one that can",
    ),
    _half("partition-processor", PROCESSOR, "mute", "a leader that the processor does not hear gives way"),
    _half(
        "partition-processor",
        PROCESSOR,
        "deaf",
        "a leader whose charges are made but not confirmed gives way; its successor asks, and makes none twice",
    ),
    _partition(
        "partition-everything",
        ALL,
        "a leader that is cut off from everything stops by itself, and another one leads",
    ),
    Scenario(
        name="followers-lose-sight",
        group=GROUP,
        shows="followers that no longer feel the leader's pulse, and are told nothing, leave it its lease",
        play=lose_sight,
    ),
    Scenario(
        name="followers-suspect-wrongly",
        group=GROUP,
        shows="followers that are refused by a leader which lives cost one needless term, and no charge",
        play=suspect_wrongly,
        needs=frozenset({Need.LINKS}),
    ),
    Scenario(
        name="partition-flapping",
        group=GROUP,
        shows="a leader whose links are cut again and again, each time for a moment, charges in between",
        play=flap,
    ),
)
