"""A leader that is killed at each point of a charge, one after the other."""

import asyncio
import random
from collections.abc import Sequence

from chaos.drive.eyes import Leader
from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.faults.processes import armed, restored, was_killed
from chaos.scenarios.handover import make_way
from chaos.scenarios.witness import others
from cluster.together import start_all

POINTS: dict[str, tuple[int, int]] = {
    "before_claim": (5, 8),
    "after_claim": (5, 8),
    "after_create": (25, 45),
    "after_bind": (25, 45),
    "after_confirm_sent": (25, 45),
    "before_settle": (25, 45),
    "in_transaction": (25, 45),
}
"""The how-manieth time a point kills, from and to: about a second of a leader's life, so that its followers feel its
pulse by then and need not wait for its lease."""
PATIENCE_S = 90.0
"""Two replicas start anew and one after the other leads, on a machine that may be busy."""


def draw_points(dice: random.Random) -> list[tuple[str, str]]:
    """Every point once, in the dice's order, and beside it what a replica is told (`after_bind=kill@31`)."""
    return [
        (point, f"{point}=kill@{dice.randint(*POINTS[point])}")
        for point in dice.sample(list(POINTS), len(POINTS))
    ]


async def kill_at_each_failpoint(stage: Stage) -> None:
    """Arms all followers, lets the leader hand over, and waits until each of them has led and died."""
    points = draw_points(stage.dice)
    async with restored(stage):
        while points:
            leader = await stage.leader()
            names = others(stage, leader.name)[: len(points)]
            doomed, points = list(zip(names, points, strict=False)), points[len(names) :]
            ready = [asyncio.Event() for _ in doomed]
            await start_all(
                [
                    *(
                        _die(stage, name, *point, event)
                        for (name, point), event in zip(doomed, ready, strict=True)
                    ),
                    _make_way(stage, names, ready),
                ]
            )
    await stage.expect_charging()


async def _die(stage: Stage, name: str, point: str, failpoint: str, ready: asyncio.Event) -> None:
    async with armed(stage, name, failpoint) as fault:
        ready.set()
        term = await stage.expect(
            f"a leader dies by SIGKILL at {point}",
            lambda: _death(stage, name, point, fault),
            fault,
            tell=lambda term: f"{name} in term {term}, at {failpoint}",
            patience_s=PATIENCE_S,
        )
        await stage.expect_successor(Leader(name, term), fault)


async def _death(stage: Stage, name: str, point: str, fault: Fault) -> int | None:
    """The term in which it died there."""
    logged = stage.eyes.logged
    if not was_killed(stage.target, name) or not logged(
        name, "failpoint.hit", since=fault.began_at, name=point
    ):
        return None
    return int(logged(name, "term.started", since=fault.began_at)[-1]["token"])


async def _make_way(stage: Stage, doomed: Sequence[str], ready: Sequence[asyncio.Event]) -> None:
    for event in ready:
        await event.wait()
    await make_way(stage, doomed, lambda name: was_killed(stage.target, name), patience_s=2 * PATIENCE_S)
