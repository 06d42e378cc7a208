"""What the random mix does to the links of replicas: cut them, in part or for moments, and make them late or thin."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Need, Side, Target
from chaos.faults.links import MODES, answered_after_s, broken, flapping, heard, late, links_of, thin
from chaos.faults.mixable import MixFault, Settings
from chaos.faults.replicas import draw_whom, touches

WITHIN_S = 0.5
FLAP_WITHIN_S = 0.15
FLAP_PAUSE_S = 0.05
SIDES: tuple[tuple[Side, ...], ...] = (
    (Side.ETCD,),
    (Side.POSTGRES,),
    (Side.PROCESSOR,),
    (Side.PEERS,),
    (Side.ETCD, Side.PEERS),
    (Side.POSTGRES, Side.PROCESSOR),
    tuple(Side),
)
THIN_SIDES: tuple[tuple[Side, ...], ...] = ((Side.ETCD,), (Side.PROCESSOR,))
"""Both answer a question after `METRICS` with some kilobytes, which take their time on a thin line."""
METRICS = "/metrics"
_TOLERANCE = 1.1
"""Of the clocks; without the fault it is a thousand times as fast."""


def _draw_sides(dice: random.Random, target: Target, choice: Sequence[tuple[Side, ...]]) -> dict[str, object]:
    return {"whom": draw_whom(dice, target), "sides": [str(side) for side in dice.choice(choice)]}


def draw_cut(dice: random.Random, target: Target) -> Settings:
    """Some sides or all, in any of the ways in which nothing gets through."""
    return _draw_sides(dice, target, SIDES) | {"mode": dice.choice(list(MODES))}


def draw_flaps(dice: random.Random, target: Target) -> Settings:
    """Cuts that each may or may not be longer than a call's patience, and moments in between."""
    bursts = [
        [round(dice.uniform(0.2, 1.5), 2), round(dice.uniform(0.1, 1.0), 2)]
        for _ in range(dice.randint(3, 8))
    ]
    return _draw_sides(dice, target, SIDES) | {"bursts": bursts}


def draw_late(dice: random.Random, target: Target) -> Settings:
    """From the next town to the other side of a very slow world."""
    return _draw_sides(dice, target, SIDES) | {
        "requests_s": round(dice.uniform(0.05, 0.4), 2),
        "answers_s": round(dice.uniform(0.05, 0.4), 2),
    }


def draw_thin(dice: random.Random, target: Target) -> Settings:
    """A few kilobytes a second."""
    return _draw_sides(dice, target, THIN_SIDES) | {"bytes_per_s": dice.randint(1_000, 8_000)}


def _sides(settings: Settings) -> tuple[Side, ...]:
    return tuple(Side(side) for side in settings["sides"])


async def _observe_cut(stage: Stage, settings: Settings, fault: Fault) -> None:
    """Ask every link at once: none may let an answer through."""
    links = links_of(stage, settings["whom"], _sides(settings))
    answers = await asyncio.gather(*(answered_after_s(side, link, WITHIN_S) for side, link in links))
    passed = [link.name for (_, link), answer in zip(links, answers, strict=True) if answer is not None]
    stage.observe(
        "no answer comes through any of the links",
        not passed,
        f"answers through {passed}" if passed else f"none through {len(links)} links",
        fault,
    )


async def _slowest_s(stage: Stage, settings: Settings, within_s: float) -> float:
    """The longest time that an answer took, or `within_s` where none came."""
    links = links_of(stage, settings["whom"], _sides(settings))
    answers = await asyncio.gather(*(answered_after_s(side, link, within_s) for side, link in links))
    return max(within_s if answer is None else answer for answer in answers)


async def _cut(stage: Stage, settings: Settings, lasts_s: float) -> None:
    async with broken(stage, settings["whom"], settings["mode"], *_sides(settings)) as fault:
        await _observe_cut(stage, settings, fault)
        await asyncio.sleep(max(0.0, lasts_s - WITHIN_S))


async def _flaps(stage: Stage, settings: Settings, lasts_s: float) -> None:
    bursts = [(cut_s, whole_s) for cut_s, whole_s in settings["bursts"]]
    silent = asked = 0
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + lasts_s
    async with flapping(stage, settings["whom"], *_sides(settings), bursts=bursts) as fault:
        [(side, link), *_] = links_of(stage, settings["whom"], _sides(settings))
        while loop.time() < ends_s:
            asked += 1
            silent += await answered_after_s(side, link, FLAP_WITHIN_S) is None
            await asyncio.sleep(FLAP_PAUSE_S)
    stage.observe(
        "answers fail to come through again and again",
        silent > 0,
        f"{silent} of {asked} questions unanswered",
        fault,
    )


async def _late(stage: Stage, settings: Settings, lasts_s: float) -> None:
    requests_s, answers_s = settings["requests_s"], settings["answers_s"]
    declared = late(stage, settings["whom"], *_sides(settings), requests_s=requests_s, answers_s=answers_s)
    async with declared as fault:
        took_s = await _slowest_s(stage, settings, 4 * (requests_s + answers_s))
        stage.observe(
            "answers come late",
            took_s >= 0.9 * (requests_s + answers_s),
            f"after {took_s:.2f} s, of which the links took {requests_s + answers_s:.2f} s",
            fault,
        )
        await asyncio.sleep(max(0.0, lasts_s - took_s))


async def observe_thin(stage: Stage, settings: Settings, within_s: float, fault: Fault) -> float:
    """Ask every link for some kilobytes: none may bring them faster than it carries. Returns the seconds of the slowest.

    How much there is to bring is not ours to say: what stands behind a link may be dead, or cut its answers short.
    """
    bytes_per_s = float(settings["bytes_per_s"])
    links = links_of(stage, settings["whom"], _sides(settings))
    told = await asyncio.gather(*(heard(side, link, within_s, METRICS) for side, link in links))
    stage.observe(
        "answers trickle in",
        all(each.size_bytes <= _TOLERANCE * bytes_per_s * each.took_s for each in told),
        ", ".join(f"{each.size_bytes} bytes in {each.took_s:.2f} s" for each in told)
        + f" at {bytes_per_s:.0f} bytes a second",
        fault,
    )
    return max(each.took_s for each in told)


async def _thin(stage: Stage, settings: Settings, lasts_s: float) -> None:
    whom, bytes_per_s = settings["whom"], settings["bytes_per_s"]
    async with thin(stage, whom, *_sides(settings), bytes_per_s=bytes_per_s) as fault:
        took_s = await observe_thin(stage, settings, lasts_s, fault)
        await asyncio.sleep(max(0.0, lasts_s - took_s))


def _kind(
    name: str,
    weight: int,
    lasts_s: tuple[float, float],
    inject: Callable[[Stage, Settings, float], Awaitable[None]],
    draw: Callable[[random.Random, Target], Settings],
) -> MixFault:
    return MixFault(
        name=name,
        weight=weight,
        lasts_s=lasts_s,
        draw=draw,
        touches=touches,
        inject=inject,
        needs=frozenset({Need.LINKS}),
    )


MIX: tuple[MixFault, ...] = (
    _kind("link-cut", 6, (0.5, 8.0), _cut, draw_cut),
    _kind("link-flapping", 2, (4.0, 8.0), _flaps, draw_flaps),
    _kind("link-late", 2, (2.0, 8.0), _late, draw_late),
    _kind("link-thin", 2, (2.0, 8.0), _thin, draw_thin),
)
