"""The clocks of the database, the leader and the processor are an hour apart: nothing new is claimed."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import httpx

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.faults.rules import SANDBOX, Admin
from chaos.scenarios.doubt import expect_caught_up, observe_no_double

HOUR_S = 3600.0
OVERDUE = 100
"""So many periods wait before it is counted what was claimed: a leader that claims would have claimed them."""
_APART = re.compile(r'^middleman_clocks_apart\{clock="(\w+)"\} 1\.0$', re.MULTILINE)
_SHOWN = "middleman_clocks_apart{"
_CLAIMED = "SELECT count(*) FROM payment_attempts WHERE created_at > $1"
_OPEN = "SELECT count(*) FROM payment_attempts WHERE status = 'open'"
_WAITING = "SELECT count(*) FROM subscriptions WHERE status = 'active' AND next_due_at <= business_now()"


async def clocks_apart(stage: Stage) -> None:
    """The processor's clock is the one to move: those of database and leader belong to the machine."""
    leader = await stage.leader()
    since = await stage.eyes.clock()
    async with _processor_ahead(stage, HOUR_S) as fault:

        async def apart() -> str | None:
            return await _shown(stage, leader.name) or None

        wrong = await stage.expect("the leader shows the alert's metric", apart, fault)
        stage.observe("it names the clock that was moved", wrong == "processor", wrong, fault)
        begun = await stage.eyes.clock()

        async def waiting() -> int | None:
            due: int = await stage.eyes.value(_WAITING)
            return due if due >= OVERDUE else None

        await stage.expect("periods fall due", waiting, fault, tell=lambda due: f"{due} wait")

        async def settled() -> str | None:
            return "none is open" if await stage.eyes.value(_OPEN) == 0 else None

        await stage.expect("what was open is settled all the same", settled, fault)
        claimed = await stage.eyes.value(_CLAIMED, begun)
        stage.observe("nothing new is claimed", claimed == 0, f"{claimed} attempts opened", fault)

    async def agree() -> str | None:
        return "it shows none" if await _shown(stage, leader.name) == "" else None

    await stage.expect("the leader shows that the clocks agree again", agree, fault)
    await stage.expect_charging(fault)
    await expect_caught_up(stage, fault)
    await _observe_few_lines(stage, leader.name, since, fault)
    await observe_no_double(stage, fault)
    now = await stage.leader()
    stage.observe(
        "the leader stays in office", now.term == leader.term, f"term {now.term}, before {leader.term}", fault
    )


@asynccontextmanager
async def _processor_ahead(stage: Stage, ahead_s: float) -> AsyncIterator[Fault]:
    """Inside, the processor's clock is ahead by so much more; far less than a day, after which keys are forgotten."""
    admin = Admin.of(stage)
    before = await admin.change("GET", "clock")
    async with stage.fault("clock", SANDBOX, ahead_s=ahead_s) as fault:
        try:
            await admin.change("POST", "clock", {"offset_s": before["offset_s"] + ahead_s})
            yield fault
        finally:
            await admin.change("POST", "clock", {"offset_s": before["offset_s"]})


async def _shown(stage: Stage, replica: str) -> str | None:
    """The clock that a replica shows as wrong; empty when it shows none, None when it does not answer."""
    try:
        answer = await stage.eyes.http.get(f"{stage.target.access.ops_urls[replica]}/metrics")
    except httpx.HTTPError:
        return None
    if not answer.is_success or _SHOWN not in answer.text:
        return None
    return ", ".join(_APART.findall(answer.text))


async def _observe_few_lines(stage: Stage, replica: str, since: datetime, fault: Fault) -> None:
    lines = {
        event: len(stage.eyes.logged(replica, event, since=since))
        for event in ("clocks.apart", "clocks.agree")
    }
    made = 1 <= lines["clocks.apart"] <= 3 and lines["clocks.agree"] == 1
    stage.observe("its log says so without repeating itself", made, str(lines), fault)
