"""Making leaders hand over, so that a replica leads which is prepared for something."""

import asyncio
from collections.abc import Callable, Sequence

import httpx

from chaos.drive.eyes import Leader
from chaos.drive.stage import PATIENCE_S, NotSeenError, Stage
from chaos.drive.target import TargetError

PAUSE_S = 0.1


async def make_way(
    stage: Stage, names: Sequence[str], over: Callable[[str], bool], *, patience_s: float = PATIENCE_S
) -> None:
    """Whoever leads and is not named hands over, until it is over for all who are named; raises `NotSeenError`."""
    try:
        async with asyncio.timeout(patience_s):
            while waiting := [name for name in names if not over(name)]:
                leader = await stage.eyes.leader()
                if leader is not None and leader.name not in names:
                    warm = [await stage.eyes.told(name, "/readyz") for name in waiting]
                    if all(warm):
                        await resign(stage, leader)
                await asyncio.sleep(PAUSE_S)
    except TimeoutError:
        raise NotSeenError(f"{', '.join(names)} did not come to it in {patience_s:g} s") from None


async def resign(stage: Stage, leader: Leader) -> None:
    """Ask the leader to hand over. Nothing happens when it leads no more, or cannot be reached."""
    access = stage.target.access
    if not access.ops_token:
        raise TargetError("no token for POST /leader/resign: start replicas with MIDDLEMAN_OPS_TOKEN")
    try:
        answer = await stage.eyes.http.post(
            f"{access.ops_urls[leader.name]}/leader/resign",
            headers={"Authorization": f"Bearer {access.ops_token}"},
        )
    except httpx.HTTPError:
        return
    if answer.status_code not in (httpx.codes.ACCEPTED, httpx.codes.CONFLICT):
        raise TargetError(f"POST /leader/resign to {leader.name}: {answer.status_code} {answer.text[:200]}")
