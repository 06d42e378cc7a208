"""What the random mix does to replicas: kill, ask to stop, freeze, and let stutter."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import httpx

from chaos.drive.stage import Stage
from chaos.drive.target import Target
from chaos.faults.mixable import LEADER, MixFault, Settings
from chaos.faults.processes import ended_by, frozen, killed, stuttering, terminated, was_killed

LEADERS_SHARE = 0.6
ANSWER_WITHIN_S = 0.4


def draw_whom(dice: random.Random, target: Target) -> str:
    """Whoever leads, or one replica by name."""
    return LEADER if dice.random() < LEADERS_SHARE else dice.choice(list(target.replicas))


def touches(settings: Settings) -> frozenset[str]:
    """Whom it was drawn for."""
    return frozenset({settings["whom"]})


def draw(dice: random.Random, target: Target) -> Settings:
    """Only whom."""
    return {"whom": draw_whom(dice, target)}


def draw_stutter(dice: random.Random, target: Target) -> Settings:
    """Bursts from a hiccup to longer than what trust in a lease outlasts."""
    return {
        "whom": draw_whom(dice, target),
        "stop_s": round(dice.uniform(0.2, 1.5), 2),
        "run_s": round(dice.uniform(0.05, 0.5), 2),
    }


async def answers(stage: Stage, replica: str, within_s: float = ANSWER_WITHIN_S) -> bool:
    """Whether its operations endpoint answers, reached past any link."""
    try:
        await stage.eyes.http.get(f"{stage.target.access.ops_urls[replica]}/livez", timeout=within_s)
    except httpx.HTTPError:
        return False
    return True


async def _kill(stage: Stage, settings: Settings, lasts_s: float) -> None:
    whom = settings["whom"]
    async with killed(stage, whom) as fault:
        dead, told = was_killed(stage.target, whom), ended_by(stage.target, whom)
        stage.observe(f"{whom} died by SIGKILL", dead, told, fault)
        await asyncio.sleep(lasts_s)


async def _terminate(stage: Stage, settings: Settings, lasts_s: float) -> None:
    whom = settings["whom"]
    async with terminated(stage, whom) as fault:
        gone, told = not stage.target.is_running(whom), ended_by(stage.target, whom)
        stage.observe(f"{whom} is gone when asked to", gone, told, fault)
        await asyncio.sleep(lasts_s)


async def _freeze(stage: Stage, settings: Settings, lasts_s: float) -> None:
    whom = settings["whom"]
    async with frozen(stage, whom) as fault:
        asking = asyncio.create_task(answers(stage, whom))
        try:
            await asyncio.sleep(max(lasts_s, ANSWER_WITHIN_S))
            answered = await asking
        finally:
            asking.cancel()
        stage.observe(
            f"the frozen {whom} answers nobody", not answered, "it answers" if answered else "silence", fault
        )


async def _stutter(stage: Stage, settings: Settings, lasts_s: float) -> None:
    whom, stop_s, run_s = settings["whom"], settings["stop_s"], settings["run_s"]
    asked = silent = 0
    loop = asyncio.get_running_loop()
    async with stuttering(stage, whom, stop_s=stop_s, run_s=run_s) as fault:
        ends_s = loop.time() + max(lasts_s, 2 * (stop_s + run_s))
        while loop.time() < ends_s:
            asked += 1
            silent += not await answers(stage, whom, 0.6 * stop_s)
            await asyncio.sleep(0.2 * stop_s)
    stage.observe(
        f"{whom} falls silent again and again", silent > 0, f"{silent} of {asked} questions unanswered", fault
    )


def _kind(
    name: str,
    weight: int,
    lasts_s: tuple[float, float],
    inject: Callable[[Stage, Settings, float], Awaitable[None]],
    draws: Callable[[random.Random, Target], Settings] = draw,
) -> MixFault:
    return MixFault(name=name, weight=weight, lasts_s=lasts_s, draw=draws, touches=touches, inject=inject)


MIX: tuple[MixFault, ...] = (
    _kind("replica-killed", 5, (0.2, 4.0), _kill),
    _kind("replica-terminated", 3, (0.2, 3.0), _terminate),
    _kind("replica-frozen", 4, (0.5, 8.0), _freeze),
    _kind("replica-stutters", 3, (2.0, 8.0), _stutter, draw_stutter),
)
