"""Leaders that freeze, or run in fits and starts, and wake up believing that nothing has happened."""

import asyncio
from datetime import datetime

import httpx

from chaos.drive.eyes import Leader
from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Need
from chaos.faults.processes import frozen, stuttering
from chaos.faults.rules import CONFIRM, misbehaving, slow
from chaos.scenarios.frozen_transaction import freeze_in_transaction
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.witness import (
    STALE,
    began,
    expect_settled_later,
    expect_stood_down,
    observe_silence,
    pauses_s,
    revocations,
    seconds_between,
    stale_write,
)

GROUP = "freezes"
CALLS = 8
LOOKED_AT = 10
STOP_S, RUN_S, STUTTERS_S = 0.5, 0.4, 6.0
_IN_FLIGHT = """
    SELECT a.id, i.payment_intent_id FROM payment_attempts a JOIN invoices i ON i.id = a.invoice_id
    WHERE a.status = 'open' AND i.payment_intent_id IS NOT NULL ORDER BY a.created_at
"""


async def freeze_past_ttl(stage: Stage) -> None:
    leader = await stage.leader()
    async with frozen(stage, leader.name) as fault:
        successor = await stage.expect_successor(leader, fault)
        after_s = seconds_between(fault.began_at, await began(stage, successor.term))
        revoked = revocations(stage, fault)
        stage.observe(
            "silence was no evidence: nobody took the lease away, it ran out",
            not revoked and after_s > stage.target.lease_ttl_s / 2,
            f"in office {after_s:.2f} s after the freeze; revoked: {[line['by'] for line in revoked]}",
            fault,
        )
        await asyncio.sleep(stage.dice.uniform(0.0, 1.5))
    await expect_stood_down(stage, leader, fault, words=STALE)
    await observe_silence(stage, leader, successor, fault)


async def freeze_mid_call(stage: Stage) -> None:
    leader = await stage.leader()
    async with misbehaving(stage, slow(1.0, 2.0), operation=CONFIRM) as rule:
        await stage.expect(
            "calls are at the processor",
            lambda: _in_flight(stage, CALLS),
            rule.fault,
            tell=lambda found: f"{len(found)} of bound intents",
        )
        async with frozen(stage, leader.name) as fault:
            calls = await _in_flight(stage, 1) or {}
            await stage.expect(
                "money is taken while who asked for it sleeps and has it on no record",
                lambda: _taken(stage, calls),
                fault,
                tell=lambda taken: f"{taken} of {min(LOOKED_AT, len(calls))} looked at",
            )
            successor = await stage.expect_successor(leader, fault)
    await expect_settled_later(stage, list(calls), leader, fault)
    await expect_stood_down(stage, leader, fault, words=STALE)
    await observe_silence(stage, leader, successor, fault)


async def _in_flight(stage: Stage, least: int) -> dict[str, str] | None:
    """Open attempts of bound intents, each with its intent; None for fewer than `least`."""
    found = {row["id"]: row["payment_intent_id"] for row in await stage.eyes.fetch(_IN_FLIGHT)}
    return found if len(found) >= least else None


async def _taken(stage: Stage, calls: dict[str, str]) -> int | None:
    """How many of the first few have succeeded at the processor; None for none."""
    access = stage.target.access
    headers = {"Authorization": f"Bearer {access.sandbox_api_key}"}
    taken = 0
    for intent in list(calls.values())[:LOOKED_AT]:
        try:
            answer = await stage.eyes.http.get(
                f"{access.sandbox_url}/v1/payment_intents/{intent}", headers=headers
            )
        except httpx.HTTPError:
            return None
        taken += answer.json().get("status") == "succeeded"
    return taken or None


async def slow_leader(stage: Stage) -> None:
    leader = await stage.leader()
    since = await stage.eyes.clock()
    async with stuttering(stage, leader.name, stop_s=STOP_S, run_s=RUN_S) as fault:
        await asyncio.sleep(STUTTERS_S)
        pauses = await pauses_s(stage, since, await stage.eyes.clock())
    long = [pause for pause in pauses if pause > 0.8 * STOP_S]
    stage.observe(
        "it charges in bursts",
        len(long) >= STUTTERS_S / (STOP_S + RUN_S) / 2 and len(pauses) > 2 * len(long),
        f"{len(long)} of {len(pauses)} pauses between charges longer than {0.8 * STOP_S:.2f} s",
        fault,
    )
    await stage.expect_charging(fault)
    after = [term.number for term in await stage.eyes.terms(after=leader.term)]
    stage.observe(
        "stalls shorter than its trust do not overthrow it",
        not after,
        f"term {leader.term} goes on" if not after else f"then terms {after}",
        fault,
    )


async def two_leaders(stage: Stage) -> None:
    leader = await stage.leader()
    async with misbehaving(stage, slow(0.5, 1.0), operation=CONFIRM) as rule:
        await stage.expect(
            "calls are at the processor",
            lambda: _in_flight(stage, CALLS),
            rule.fault,
            tell=lambda found: f"{len(found)} of bound intents",
        )
        async with frozen(stage, leader.name) as fault:
            successor = await stage.expect_successor(leader, fault)
            await asyncio.sleep(stage.dice.uniform(0.0, 1.0))
        ended = await expect_stood_down(stage, leader, fault, words=STALE)
    both_s = seconds_between(await began(stage, successor.term), ended.at)
    stage.observe(
        f"until then both believed that they led, terms {leader.term} and {successor.term}",
        both_s > 0,
        f"for {both_s:.2f} s, of which {_awake_s(ended.at, fault):.3f} s awake",
        fault,
    )
    await observe_silence(stage, leader, successor, fault)
    refusal = await stale_write(stage, leader.term)
    stage.observe(
        f"the database refuses a write of term {leader.term} even when it is typed by hand",
        "stale term" in refusal,
        refusal or "it was let through",
        fault,
    )
    await _expect_still(stage, successor, fault)


def _awake_s(ended_at: datetime, fault: Fault) -> float:
    return max(0.0, seconds_between(fault.ended_at, ended_at)) if fault.ended_at is not None else 0.0


async def _expect_still(stage: Stage, leader: Leader, fault: Fault) -> None:
    """Note that the same leader charges on."""
    after_event = await stage.eyes.newest_event()

    async def look() -> int | None:
        return await stage.eyes.settled(after_event=after_event, term=leader.term) or None

    await stage.expect(
        f"{leader.name} charges on in term {leader.term}", look, fault, tell=lambda n: f"{n} settled"
    )


FREEZES: tuple[Scenario, ...] = (
    Scenario(
        name="freeze-leader-past-ttl",
        group=GROUP,
        shows="a leader that freezes is left to its lease, replaced, and stands down when it wakes",
        play=freeze_past_ttl,
    ),
    Scenario(
        name="freeze-leader-mid-call",
        group=GROUP,
        shows="a leader freezes while the processor takes money for it: its successor asks, and takes none twice",
        play=freeze_mid_call,
    ),
    Scenario(
        name="freeze-leader-in-transaction",
        group=GROUP,
        shows="a leader that freezes in a transaction which holds the fence holds up nobody, and commits nothing late",
        play=freeze_in_transaction,
        needs=frozenset({Need.RELAUNCH}),
        limit_s=120.0,
    ),
    Scenario(
        name="slow-leader",
        group=GROUP,
        shows="a leader whose event loop stalls in bursts charges in between, and is not overthrown",
        play=slow_leader,
    ),
    Scenario(
        name="two-leaders-believe",
        group=GROUP,
        shows="two replicas believe that they lead: the one that slept is refused, whatever it had in its hands",
        play=two_leaders,
    ),
)
