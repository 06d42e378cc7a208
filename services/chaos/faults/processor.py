"""Faults of the processor: its process, and, for the random mix, the rules of `chaos.faults.rules`."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Target
from chaos.faults.mixable import MixFault, Settings
from chaos.faults.processes import frozen, was_killed
from chaos.faults.rules import (
    ANY,
    CONFIRM,
    CREATE,
    FAILED_AND_DONE,
    LOST_AFTER,
    LOST_BEFORE,
    RESET_AFTER,
    RESET_BEFORE,
    SANDBOX,
    TRUNCATED,
    Action,
    Admin,
    expect_bitten,
    misbehaving,
    refusing,
    slow,
    too_many,
)

_HOLDS = frozenset({SANDBOX})
_BROKEN = (LOST_BEFORE, LOST_AFTER, RESET_BEFORE, RESET_AFTER, TRUNCATED)
_OPERATIONS = (ANY, CREATE, CONFIRM)


@asynccontextmanager
async def down(stage: Stage) -> AsyncIterator[Fault]:
    """The sandbox is killed, and inside it is gone; at the end it runs again, on the same ledger."""
    async with stage.fault("kill", SANDBOX) as fault:
        try:
            await stage.target.kill(SANDBOX)
            yield fault
        finally:
            await stage.target.start(SANDBOX)


def _holds(_: Settings) -> frozenset[str]:
    return _HOLDS


def _rule(action: Action, dice: random.Random, operations: tuple[str, ...] = _OPERATIONS) -> dict[str, Any]:
    return {
        "action": dict(action),
        "operation": dice.choice(operations),
        "probability": round(dice.uniform(0.2, 0.9), 2),
    }


def draw_broken(dice: random.Random, _: Target) -> Settings:
    """A reply that gets lost, in any of the ways in which a network loses it."""
    return _rule(dice.choice(_BROKEN), dice)


def draw_failing(dice: random.Random, _: Target) -> Settings:
    """A 500 for what was done. (One for what was not done lasts as long as the key: a day.)"""
    return _rule(FAILED_AND_DONE, dice, (CREATE, CONFIRM))


def draw_too_many(dice: random.Random, _: Target) -> Settings:
    """A 429, half of them with a time to stay away."""
    retry_after_s = dice.choice((None, round(dice.uniform(0.1, 2.0), 1)))
    return _rule(too_many(retry_after_s), dice)


def draw_refusing(dice: random.Random, _: Target) -> Settings:
    """A refusal that concerns no payer, kept under the key or not."""
    reason = dice.choice(("account_restricted", "method_not_activated", "not_permitted", "proxy"))
    return _rule(refusing(reason, stored=dice.random() < 0.5), dice, (CREATE, CONFIRM))


def draw_slow(dice: random.Random, _: Target) -> Settings:
    """From a hardly noticeable delay to one that the client does not wait for."""
    from_s = round(dice.uniform(0.1, 6.0), 1)
    return _rule(slow(from_s, from_s + round(dice.uniform(0.1, 8.0), 1)), dice)


def draw_nothing(_dice: random.Random, _target: Target) -> Settings:
    """There is one processor, and nothing to choose."""
    return {}


async def _misbehave(stage: Stage, settings: Settings, lasts_s: float) -> None:
    rule = misbehaving(
        stage,
        settings["action"],
        operation=settings["operation"],
        probability=settings["probability"],
    )
    async with rule as struck:
        await asyncio.sleep(lasts_s)
        await expect_bitten(stage, struck)


async def _restart(stage: Stage, _: Settings, lasts_s: float) -> None:
    async with down(stage) as fault:
        await asyncio.sleep(lasts_s)
        killed = was_killed(stage.target, SANDBOX)
        stage.observe("the processor died by SIGKILL", killed, "gone" if killed else "not gone", fault)


async def _freeze(stage: Stage, _: Settings, lasts_s: float) -> None:
    async with frozen(stage, SANDBOX) as fault:
        await asyncio.sleep(lasts_s)
        told = await Admin.of(stage).ask("stats")
        stage.observe("the frozen processor answers nobody", told is None, f"told {told}", fault)


MIX: tuple[MixFault, ...] = (
    MixFault(
        name="processor-loses-replies",
        weight=4,
        lasts_s=(1.0, 8.0),
        draw=draw_broken,
        touches=_holds,
        inject=_misbehave,
    ),
    MixFault(
        name="processor-fails",
        weight=2,
        lasts_s=(1.0, 6.0),
        draw=draw_failing,
        touches=_holds,
        inject=_misbehave,
    ),
    MixFault(
        name="processor-has-too-many",
        weight=2,
        lasts_s=(1.0, 5.0),
        draw=draw_too_many,
        touches=_holds,
        inject=_misbehave,
    ),
    MixFault(
        name="processor-refuses-us",
        weight=2,
        lasts_s=(1.0, 5.0),
        draw=draw_refusing,
        touches=_holds,
        inject=_misbehave,
    ),
    MixFault(
        name="processor-slow",
        weight=3,
        lasts_s=(1.0, 8.0),
        draw=draw_slow,
        touches=_holds,
        inject=_misbehave,
    ),
    MixFault(
        name="processor-restarts",
        weight=2,
        lasts_s=(0.3, 3.0),
        draw=draw_nothing,
        touches=_holds,
        inject=_restart,
    ),
    MixFault(
        name="processor-freezes",
        weight=2,
        lasts_s=(1.0, 5.0),
        draw=draw_nothing,
        touches=_holds,
        inject=_freeze,
    ),
)
