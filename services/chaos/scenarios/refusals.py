"""The processor refuses everything, whoever pays: the account is restricted, a right is missing, a proxy refuses."""

import asyncio
from contextlib import AsyncExitStack
from datetime import datetime

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.faults.rules import CONFIRM, CREATE, Action, Rule, expect_bitten, misbehaving, refusing
from chaos.scenarios.doubt import (
    Doubt,
    doubt,
    expect_caught_up,
    expect_found_out,
    observe_no_double,
    observe_no_odd_decline,
    reads,
)

REFUSED_S = 8.0
MOMENT_S = 2.0
FEW = 40
"""Calls in a moment that a leader may make which waits: probes, and the few attempts that were on their way, with their
repeats. Undisturbed it makes four times as many."""


async def account_refused(stage: Stage) -> None:
    """The processor keeps its refusals under their keys, as Stripe does once an execution has begun."""
    since = await stage.eyes.clock()
    faults = await _refused(stage, since, refusing("account_restricted", stored=True), CREATE, CONFIRM)
    await _expect_settled(stage, since, *faults)
    await observe_no_double(stage, *faults)


async def proxy_refuses(stage: Stage) -> None:
    """Something between refuses confirmations in HTML, with a status that no document of the processor's lists."""
    since = await stage.eyes.clock()
    reads_before = await reads(stage) or 0
    faults = await _refused(stage, since, refusing("proxy", status=406), CONFIRM)
    await expect_found_out(stage, since, *faults, reads_before=reads_before)


async def _refused(stage: Stage, since: datetime, action: Action, *operations: str) -> list[Fault]:
    leader = await stage.leader()
    async with AsyncExitStack() as rules:
        struck = [
            await rules.enter_async_context(misbehaving(stage, action, operation=operation))
            for operation in operations
        ]
        faults = [rule.fault for rule in struck]
        await expect_bitten(stage, struck[0], least=10)
        await _expect_breaker(stage, "breaker.opened", since, *faults)
        until_last = await _hits(struck)
        await asyncio.sleep(MOMENT_S)
        last = await _hits(struck) - until_last
        stage.observe(
            "the leader stops asking, but for a probe now and then",
            last <= FEW,
            f"{last} calls in {MOMENT_S:g} s, while about {MOMENT_S * 40:g} periods fell due",
            *faults,
        )
        await asyncio.sleep(REFUSED_S - MOMENT_S)
        await observe_no_odd_decline(stage, since, *faults)
    await _expect_breaker(stage, "breaker.closed", since, *faults)
    await stage.expect_charging(*faults)
    await expect_caught_up(stage, *faults)
    await observe_no_odd_decline(stage, since, *faults)
    now = await stage.leader()
    stage.observe(
        "the leader stays in office: another replica has the same account",
        now.term == leader.term,
        f"term {now.term}, before {leader.term}",
        *faults,
    )
    return faults


async def _expect_settled(stage: Stage, since: datetime, *faults: Fault) -> None:
    async def look() -> Doubt | None:
        found = await doubt(stage, since)
        return found if found.all and not found.open else None

    await stage.expect("every attempt that was refused is settled", look, *faults)


async def _hits(struck: list[Rule]) -> int:
    return sum([await rule.bitten() or 0 for rule in struck])


async def _expect_breaker(stage: Stage, event: str, since: datetime, *faults: Fault) -> None:
    async def look() -> str | None:
        lines = [
            line
            for replica in stage.target.replicas
            for line in stage.eyes.logged(replica, event, since=since)
        ]
        return ", ".join(str(line["step"]) for line in lines) or None

    await stage.expect(f"the leader says {event}", look, *faults)
