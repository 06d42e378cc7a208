"""Storms of 429 at the processor: the leader slows down, and comes back to its rate afterwards."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.faults.rules import CONFIRM, CREATE, Action, expect_bitten, misbehaving, too_many
from chaos.scenarios.doubt import expect_caught_up, observe_no_odd_decline

STORM_S = 5.0
MOMENT_S = 1.5
RETRY_AFTER_S = 1.0
DUE_PER_S = 40.0


@dataclass(frozen=True, slots=True)
class _Refused:
    """How many requests a storm of 429s refused, in its first and last moments and altogether."""

    first: int
    last: int
    all: int


async def _storm(stage: Stage, action: Action) -> tuple[_Refused, list[Fault]]:
    """Every creation and confirmation is refused for a while."""
    loop = asyncio.get_running_loop()
    async with (
        misbehaving(stage, action, operation=CREATE) as creating,
        misbehaving(stage, action, operation=CONFIRM) as confirming,
    ):

        async def refused() -> int:
            return (await creating.bitten() or 0) + (await confirming.bitten() or 0)

        faults = [creating.fault, confirming.fault]
        await expect_bitten(stage, creating)
        began_s = loop.time()
        await asyncio.sleep(MOMENT_S)
        first = await refused()
        await asyncio.sleep(STORM_S - 2 * MOMENT_S - (loop.time() - began_s - MOMENT_S))
        until_last = await refused()
        await asyncio.sleep(MOMENT_S)
        everything = await refused()
    return _Refused(first, everything - until_last, everything), faults


async def _calm(stage: Stage, since: datetime, *faults: Fault) -> None:
    await stage.expect_charging(*faults)
    await expect_caught_up(stage, *faults)
    await observe_no_odd_decline(stage, since, *faults)


async def too_many_requests(stage: Stage) -> None:
    """429 without a word on when to come back."""
    since = await stage.eyes.clock()
    refused, faults = await _storm(stage, too_many())
    stage.observe(
        "while everything is refused, the processor is asked ever less often",
        refused.last <= refused.first / 2,
        f"{refused.first} refused in the first {MOMENT_S:g} s, {refused.last} in the last",
        *faults,
    )
    await _calm(stage, since, *faults)


async def too_many_requests_retry_after(stage: Stage) -> None:
    """429, and when to come back."""
    since = await stage.eyes.clock()
    refused, faults = await _storm(stage, too_many(RETRY_AFTER_S))
    due = round(STORM_S * DUE_PER_S)
    stage.observe(
        "who is told when to come back stays away for so long",
        refused.all <= due / 2,
        f"{refused.all} refused in {STORM_S:g} s, in which about {due} fell due",
        *faults,
    )
    await _calm(stage, since, *faults)
