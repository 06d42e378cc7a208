"""Faults of etcd: members that die or freeze, alone or as a majority, and all of them at once."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Target
from chaos.faults.mixable import MixFault, Settings
from chaos.faults.processes import ended_by, frozen, killed, was_killed
from cluster.together import gather_all

ETCD = "etcd"
"""What all of these touch: two of them at once might take the quorum without saying so."""

NOTICE_S = 10.0
"""How long a member may take to be seen as silent: an election timeout, and a probe or two."""


@asynccontextmanager
async def members_killed(stage: Stage, names: Sequence[str]) -> AsyncIterator[Fault]:
    """SIGKILL to all of them at once; at the end all are started, and ready again."""
    async with stage.fault("kill", ", ".join(names)) as fault:
        try:
            await gather_all([stage.target.kill(name) for name in names])
            yield fault
        finally:  # together: none is ready without a majority
            await gather_all([stage.target.start(name) for name in names])


@asynccontextmanager
async def members_frozen(stage: Stage, names: Sequence[str]) -> AsyncIterator[Fault]:
    """SIGSTOP to all of them until the end."""
    async with stage.fault("freeze", ", ".join(names)) as fault:
        try:
            await gather_all([stage.target.pause(name) for name in names])
            yield fault
        finally:
            await gather_all([stage.target.resume(name) for name in names])


@asynccontextmanager
async def lasting(lasts_s: float) -> AsyncIterator[None]:
    """The body takes at least so long."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + lasts_s
    yield
    await asyncio.sleep(ends_s - loop.time())


def majority(target: Target, dice: random.Random) -> list[str]:
    """Just as many members as the others can not do without."""
    names = list(target.etcd_members)
    return sorted(dice.sample(names, len(names) // 2 + 1))


def observe_killed(stage: Stage, names: Sequence[str], fault: Fault) -> None:
    """Note that they died."""
    died = [ended_by(stage.target, name) for name in names]
    stage.observe(
        f"{' and '.join(names)} died",
        all(was_killed(stage.target, name) for name in names),
        ", ".join(died),
        fault,
    )


async def expect_silent(stage: Stage, name: str, fault: Fault) -> None:
    """Note that a server does not answer for itself, or not as part of a quorum."""

    async def look() -> str | None:
        return None if await stage.target.answers(name) else "it was asked, and did not"

    await stage.expect(f"{name} does not answer", look, fault, patience_s=NOTICE_S)


async def _kill(stage: Stage, settings: Settings, lasts_s: float) -> None:
    name = settings["whom"]
    async with killed(stage, name) as fault, lasting(lasts_s):
        observe_killed(stage, [name], fault)


async def _freeze(stage: Stage, settings: Settings, lasts_s: float) -> None:
    name = settings["whom"]
    async with frozen(stage, name) as fault, lasting(lasts_s):
        await expect_silent(stage, name, fault)


async def _lose_quorum(stage: Stage, settings: Settings, lasts_s: float) -> None:
    names = settings["members"]
    left = [name for name in stage.target.etcd_members if name not in names]
    strike = members_killed if settings["by"] == "kill" else members_frozen
    async with strike(stage, names) as fault, lasting(lasts_s):
        await expect_silent(stage, (left or names)[0], fault)


async def _restart_all(stage: Stage, _settings: Settings, lasts_s: float) -> None:
    async with members_killed(stage, stage.target.etcd_members) as fault, lasting(lasts_s):
        observe_killed(stage, stage.target.etcd_members, fault)


def _any_member(dice: random.Random, target: Target) -> Settings:
    return {"whom": dice.choice(list(target.etcd_members))}


def _any_majority(dice: random.Random, target: Target) -> Settings:
    return {"members": majority(target, dice), "by": dice.choice(("kill", "freeze"))}


def _nothing(_dice: random.Random, _target: Target) -> Settings:
    return {}


def _touches_etcd(_settings: Settings) -> frozenset[str]:
    return frozenset({ETCD})


MIX: tuple[MixFault, ...] = (
    MixFault(
        name="etcd-kill-member",
        weight=3,
        lasts_s=(0.5, 8.0),
        draw=_any_member,
        touches=_touches_etcd,
        inject=_kill,
    ),
    MixFault(
        name="etcd-freeze-member",
        weight=3,
        lasts_s=(0.5, 8.0),
        draw=_any_member,
        touches=_touches_etcd,
        inject=_freeze,
    ),
    MixFault(
        name="etcd-lose-quorum",
        weight=2,
        lasts_s=(1.0, 6.0),
        draw=_any_majority,
        touches=_touches_etcd,
        inject=_lose_quorum,
    ),
    MixFault(
        name="etcd-restart-all",
        weight=1,
        lasts_s=(0.0, 2.0),
        draw=_nothing,
        touches=_touches_etcd,
        inject=_restart_all,
    ),
)
