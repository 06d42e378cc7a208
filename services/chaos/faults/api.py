"""Faults of the REST API's processes in the random mix; the acts are those of `chaos.faults.processes`."""

import asyncio
import random

from chaos.drive.stage import Stage
from chaos.drive.target import Need, Target
from chaos.faults.mixable import MixFault, Settings
from chaos.faults.processes import ended_by, frozen, killed, was_killed

_NEEDS = frozenset({Need.SECOND_API})
"""With one process alone, an outage of the API is certain and shows nothing about repeating elsewhere."""


def draw_one(dice: random.Random, target: Target) -> Settings:
    """One of the instances."""
    return {"whom": dice.choice(list(target.apis))}


def holds_one(settings: Settings) -> frozenset[str]:
    """That instance."""
    return frozenset({settings["whom"]})


async def _kill(stage: Stage, settings: Settings, lasts_s: float) -> None:
    name = settings["whom"]
    async with killed(stage, name) as fault:
        await asyncio.sleep(lasts_s)
        stage.observe(
            f"{name} died by SIGKILL", was_killed(stage.target, name), ended_by(stage.target, name), fault
        )


async def _freeze(stage: Stage, settings: Settings, lasts_s: float) -> None:
    name = settings["whom"]
    async with frozen(stage, name) as fault:
        await asyncio.sleep(lasts_s)
        is_frozen = stage.target.is_paused(name)
        stage.observe(f"{name} stands still", is_frozen, "frozen" if is_frozen else "not frozen", fault)


MIX: tuple[MixFault, ...] = (
    MixFault(
        name="api-killed",
        weight=2,
        lasts_s=(0.3, 4.0),
        draw=draw_one,
        touches=holds_one,
        inject=_kill,
        needs=_NEEDS,
    ),
    MixFault(
        name="api-frozen",
        weight=2,
        lasts_s=(1.0, 7.0),
        draw=draw_one,
        touches=holds_one,
        inject=_freeze,
        needs=_NEEDS,
    ),
)
