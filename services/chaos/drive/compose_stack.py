"""Takes hold of a compose stack that runs, and lets it go whole."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.drive.compose import LOOKING, NETWORKS, STOP_GRACE_S, ComposeTarget
from chaos.drive.compose_engine import Engine
from chaos.drive.compose_members import Members
from chaos.drive.compose_place import Place
from chaos.drive.compose_probes import Probes
from chaos.drive.target import TargetError

FRONT = "front"


@asynccontextmanager
async def compose_target(place: Place) -> AsyncIterator[ComposeTarget]:
    """The running stack, its demo held for as long as the body lasts; whatever is left broken is undone at the end.

    Raises `TargetError` when the stack is not there.
    """
    engine = Engine.at(place.socket)
    try:
        await engine.open()
        members = Members.find(engine, place.project)
        networks = engine.networks(place.project)
        if missing := [each for each in (*NETWORKS.values(), LOOKING, FRONT) if each not in networks]:
            raise TargetError(
                f"the stack {place.project} has no network {', '.join(missing)}: take it down and up"
            )
        async with Probes() as probes, _demo_held(engine, members):
            target = ComposeTarget(engine, place, members, networks, probes)
            try:
                yield target
            finally:
                await asyncio.shield(target.undo())
    finally:
        await engine.close()


@asynccontextmanager
async def _demo_held(engine: Engine, members: Members) -> AsyncIterator[None]:
    """Its clock is not ours: two who set one clock learn nothing from it."""
    running = [each for each in members.demos if engine.inspect(each)["State"]["Running"]]
    try:
        for each in running:
            await engine.act(each, "stop", timeout_s=2.0 * STOP_GRACE_S, t=str(STOP_GRACE_S))
        yield
    finally:
        for each in running:
            await engine.act(each, "start")
