"""PostgreSQL crashes, freezes, ends sessions, and has no room for its log: everything waits, and nothing is lost."""

import asyncio
from dataclasses import dataclass

import httpx

from chaos.drive.eyes import Leader, until
from chaos.drive.record import Fault, now
from chaos.drive.stage import PATIENCE_S, Stage
from chaos.drive.target import Need
from chaos.faults.etcd import expect_silent
from chaos.faults.postgres import (
    POSTGRES,
    Death,
    crashed,
    expect_ended,
    expect_full,
    full_log_disk,
    sessions_ending,
    times_full,
)
from chaos.faults.processes import frozen
from chaos.scenarios.darkness import charging_calls, expect_api_serves
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.waiting import unknown_time_zones
from chaos.scenarios.witness import expect_stood_down, observe_silence

GROUP = "postgres"
FREEZE_S = 20.0
FULL_S = 3.0
STANDBY_S = 4.0
"""How long the address leads to the standby once everybody has noticed: pools would fill with sessions there."""
BURSTS_S = 6.0
LAST_CALLS_S = 1.0
_COMMITTED = """
    SELECT coalesce(max(seq), 0) AS newest, count(*) AS events,
           count(*) FILTER (WHERE kind = 'attempt.settled') AS settled
    FROM events WHERE $1::bigint IS NULL OR seq <= $1
"""
_IN_RECOVERY = "SELECT pg_is_in_recovery()"
_STARTED_AT = "SELECT pg_postmaster_start_time()"


@dataclass(frozen=True, slots=True)
class Committed:
    """What was visible, and so durable: events up to `newest`, and how many of them settled an attempt."""

    newest: int
    events: int
    settled: int


async def crash_restart(stage: Stage) -> None:
    await _crash(stage, "stop-immediate")


async def kill_postmaster(stage: Stage) -> None:
    await _crash(stage, "kill")


async def freeze(stage: Stage) -> None:
    leader = await stage.leader()
    before = await _committed(stage)
    async with frozen(stage, POSTGRES) as fault:
        await expect_silent(stage, POSTGRES, fault)
        await expect_stood_down(stage, leader, fault, words=("the database was away",))
        await asyncio.sleep(LAST_CALLS_S)
        calls = await charging_calls(stage)
        await asyncio.sleep(max(0.0, FREEZE_S - (now() - fault.began_at).total_seconds()))
        more = await charging_calls(stage) - calls
        stage.observe("nobody charges without a database", more == 0, f"{more} calls for charges", fault)
    successor = await stage.expect_successor(leader, fault)
    await _observe_nothing_lost(stage, before, fault)
    await observe_silence(stage, leader, successor, fault)


async def end_sessions(stage: Stage) -> None:
    leader = await stage.leader()
    share, pause_s = round(stage.dice.uniform(0.3, 0.9), 2), round(stage.dice.uniform(0.2, 0.6), 2)
    async with sessions_ending(stage, stage.dice, share=share, pause_s=pause_s) as (fault, ended):
        await asyncio.sleep(BURSTS_S)
        await expect_ended(stage, ended, fault)
        await stage.expect_charging(fault)
        await _expect_noticed(stage, fault)
    await _observe_same_term(stage, leader, fault)


async def fill_log_disk(stage: Stage) -> None:
    before, said = await _committed(stage), await times_full(stage)
    async with full_log_disk(stage) as fault:
        await expect_full(stage, said, fault)
        await expect_silent(stage, POSTGRES, fault)
        await _expect_noticed(stage, fault)
        await asyncio.sleep(FULL_S)
    await stage.expect_charging(fault)
    await _observe_nothing_lost(stage, before, fault)


async def failover(stage: Stage) -> None:
    """To a hot standby, while the address leads to the old primary for a while; then back, faster than patience lasts."""
    leader = await stage.leader()
    async with stage.target.cluster.postgres_failover() as servers:
        before = await _committed(stage)
        async with stage.fault("fail-over", POSTGRES, address="late") as fault:
            await servers.fail_over()
            await servers.old_primary_follows()
            in_recovery = await until(lambda: stage.eyes.value(_IN_RECOVERY), PATIENCE_S)
            stage.observe("the address leads to a standby", in_recovery, f"in recovery: {in_recovery}", fault)
            await expect_not_ready(stage, fault)
            calls = await charging_calls(stage)
            await asyncio.sleep(STANDBY_S)
            more = await charging_calls(stage) - calls
            stage.observe("nobody charges on a standby", more == 0, f"{more} calls for charges", fault)
            servers.move_addresses()
        successor = await stage.expect_successor(leader, fault)
        await expect_api_serves(stage, fault)
        await _expect_ready(stage, fault)
        await stage.eyes.reconnect()
        await _observe_nothing_lost(stage, before, fault)

        before = await _committed(stage)
        async with stage.fault("fail-over", POSTGRES, address="at once") as fault:
            await servers.fail_over()
            servers.move_addresses()
        await expect_stood_down(stage, successor, fault, words=("timeline",))
    await stage.expect_successor(successor, fault)
    await _observe_nothing_lost(stage, before, fault)


async def expect_not_ready(stage: Stage, fault: Fault) -> None:
    """Note that every API and replica says by itself that it is not ready, and why."""
    await _expect_readiness(stage, httpx.codes.SERVICE_UNAVAILABLE, "nobody is ready on a standby", fault)


async def _expect_ready(stage: Stage, fault: Fault) -> None:
    await _expect_readiness(
        stage, httpx.codes.OK, "everybody is ready again, and nobody was restarted", fault
    )


async def _expect_readiness(stage: Stage, status: int, expected: str, fault: Fault) -> None:
    access = stage.target.access
    urls = (*access.api_urls, *access.ops_urls.values())

    async def look() -> str | None:
        try:
            answers = [(await stage.eyes.http.get(f"{url}/readyz")).status_code for url in urls]
        except httpx.HTTPError:
            return None
        return f"answers: {', '.join(map(str, answers))}" if set(answers) == {status} else None

    await stage.expect(expected, look, fault)


async def _crash(stage: Stage, death: Death) -> None:
    leader = await stage.leader()
    started_at = await stage.eyes.value(_STARTED_AT)
    before = await _committed(stage)
    async with crashed(stage, death) as fault:
        await expect_silent(stage, POSTGRES, fault)
        await _expect_noticed(stage, fault)
    again_at = await until(lambda: stage.eyes.value(_STARTED_AT), PATIENCE_S)
    stage.observe(
        "another postmaster serves", again_at > started_at, f"{started_at} before, {again_at} now", fault
    )
    await stage.expect_charging(fault)
    await _observe_nothing_lost(stage, before, fault)
    await _observe_same_term(stage, leader, fault)


async def _committed(stage: Stage, up_to: int | None = None) -> Committed:
    [row] = await until(lambda: stage.eyes.fetch(_COMMITTED, up_to), PATIENCE_S)
    return Committed(row["newest"], row["events"], row["settled"])


async def _expect_noticed(stage: Stage, fault: Fault) -> None:
    """Note that the pipeline met a database that was away; it repeats what it could not write."""

    async def look() -> str | None:
        noticed = [
            f"{len(lines)} x {name}"
            for name in stage.target.replicas
            if (lines := stage.eyes.logged(name, "store.unavailable", since=fault.began_at))
        ]
        return ", ".join(noticed) or None

    await stage.expect("the leader finds the database away, and says so", look, fault)


async def _observe_same_term(stage: Stage, leader: Leader, fault: Fault) -> None:
    terms = await stage.eyes.terms(after=leader.term - 1)
    stage.observe(
        f"{leader.name} keeps term {leader.term}",
        [term.number for term in terms] == [leader.term] and terms[0].ended_at is None,
        ", ".join(f"term {term.number} {term.end_reason or 'goes on'}" for term in terms),
        fault,
    )


async def _observe_nothing_lost(stage: Stage, before: Committed, *faults: Fault) -> None:
    """Note that whatever could be seen before the fault can be seen after it."""
    after = await _committed(stage, before.newest)
    stage.observe(
        "everything that was committed before is still there",
        after.events >= before.events and after.settled >= before.settled,
        f"of {before.events} events {after.events} are there, of {before.settled} settled attempts {after.settled}",
        *faults,
    )


DATABASE: tuple[Scenario, ...] = (
    Scenario(
        name="postgres-crash-restart",
        group=GROUP,
        shows="PostgreSQL is stopped at once, without a checkpoint, and recovers: the leader waits, and charges on",
        play=crash_restart,
        needs=frozenset({Need.DATA}),
    ),
    Scenario(
        name="postgres-kill",
        group=GROUP,
        shows="PostgreSQL dies by SIGKILL with all its sessions, and recovers: the leader waits, and charges on",
        play=kill_postmaster,
    ),
    Scenario(
        name="postgres-freeze",
        group=GROUP,
        shows="PostgreSQL takes calls for 20 s and answers none: the leader gives up, nobody charges, nothing is lost",
        play=freeze,
        limit_s=90.0,
    ),
    Scenario(
        name="postgres-end-sessions",
        group=GROUP,
        shows="sessions are ended at random, again and again: what broke off is repeated, and the term goes on",
        play=end_sessions,
    ),
    Scenario(
        name="postgres-failover",
        group=GROUP,
        shows="PostgreSQL fails over and its address moves late, then fails over within a term: nobody is restarted",
        play=failover,
        needs=frozenset({Need.STANDBY}),
        limit_s=180.0,
    ),
    Scenario(
        name="postgres-fill-log-disk",
        group=GROUP,
        shows="the disk of PostgreSQL's write-ahead log is full: nothing is charged on a guess, and with room all goes on",
        play=fill_log_disk,
        needs=frozenset({Need.DATA}),
        limit_s=90.0,
    ),
    Scenario(
        name="unknown-time-zones",
        group=GROUP,
        shows="A hundred subscriptions in a time zone that is unknown to the database are set aside; others are charged.",
        play=unknown_time_zones,
        limit_s=180.0,
    ),
)
