"""etcd loses members, its own leader, its quorum, all of itself, and its memory."""

import asyncio

from chaos.drive.eyes import Leader
from chaos.drive.record import Fault, now
from chaos.drive.stage import Stage
from chaos.drive.target import Need
from chaos.faults.etcd import (
    expect_silent,
    majority,
    members_killed,
    observe_killed,
)
from chaos.faults.processes import frozen, killed
from chaos.scenarios.darkness import expect_api_serves, expect_darkness
from chaos.scenarios.handover import resign
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.witness import expect_stood_down, observe_silence

GROUP = "etcd"
ELECTIONS = 3
"""Between the snapshot and its restoration: each moves etcd's revision by two, and the one after it needs two."""
BEYOND_LEASE_S = 0.5
_REVISION = "SELECT election_revision FROM terms WHERE scope = 0 AND number = $1"


async def kill_member(stage: Stage) -> None:
    await _lose_one(stage, await _any_but_raft_leader(stage), freeze=False)


async def freeze_member(stage: Stage) -> None:
    await _lose_one(stage, await _any_but_raft_leader(stage), freeze=True)


async def kill_raft_leader(stage: Stage) -> None:
    await _lose_one(stage, await stage.target.raft_leader(), freeze=False)


async def freeze_raft_leader(stage: Stage) -> None:
    await _lose_one(stage, await stage.target.raft_leader(), freeze=True)


async def lose_quorum(stage: Stage) -> None:
    leader = await stage.leader()
    names = majority(stage.target, stage.dice)
    async with members_killed(stage, names) as fault:
        observe_killed(stage, names, fault)
        ended = await expect_stood_down(stage, leader, fault, words=("trust", "lease"))
        await expect_darkness(stage, leader, ended.at, fault)
        await expect_api_serves(stage, fault)
    successor = await stage.expect_successor(leader, fault)
    await observe_silence(stage, leader, successor, fault)


async def restart_all(stage: Stage) -> None:
    leader = await stage.leader()
    names = stage.target.etcd_members
    async with members_killed(stage, names) as fault:
        observe_killed(stage, names, fault)
    await _until_lease_over(stage, fault)  # charges before that prove nothing about etcd
    await stage.expect_charging(fault)
    newer = [term.number for term in await stage.eyes.terms(after=leader.term)]
    stage.observe(
        "etcd remembers the election, or holds one new one",
        len(newer) <= 1,
        f"term {leader.term} {f'was followed by {newer}' if newer else 'goes on'}",
        fault,
    )


async def restore_snapshot(stage: Stage) -> None:
    etcd = stage.target.cluster.etcd
    path = stage.target.cluster.spec.data_dir / "etcd-snapshot"
    try:
        await etcd.snapshot(path)
        old = await stage.leader()
        for _ in range(ELECTIONS):
            await resign(stage, old)
            old = await stage.leader(after_term=old.term)
        async with stage.fault("restore-snapshot", ", ".join(stage.target.etcd_members)) as fault:
            await etcd.restore(path)
    finally:
        await asyncio.to_thread(path.unlink, missing_ok=True)
    successor = await stage.expect_successor(old, fault)
    before, after = await _revision(stage, old.term), await _revision(stage, successor.term)
    stage.observe(
        "the newer term comes from an election with a lower revision",
        after < before,
        f"term {old.term} was elected at revision {before}, term {successor.term} at {after}",
        fault,
    )
    await observe_silence(stage, old, successor, fault)


async def _lose_one(stage: Stage, name: str, *, freeze: bool) -> None:
    """One member is gone for longer than a lease; the others are a majority, and nothing else may happen."""
    leader = await stage.leader()
    led_raft = await stage.target.raft_leader() == name
    async with frozen(stage, name) if freeze else killed(stage, name) as fault:
        if freeze:
            await expect_silent(stage, name, fault)
        else:
            observe_killed(stage, [name], fault)
        if led_raft:
            await stage.expect(
                "the others elect a new raft leader", lambda: _other_raft_leader(stage, name), fault
            )
        await _expect_same_term(stage, leader, fault)
    await stage.expect(f"{name} is back", lambda: _answers(stage, name), fault)


async def _any_but_raft_leader(stage: Stage) -> str:
    raft_leader = await stage.target.raft_leader()
    return stage.dice.choice([name for name in stage.target.etcd_members if name != raft_leader])


async def _other_raft_leader(stage: Stage, old: str) -> str | None:
    found = await stage.target.raft_leader()
    return found if found != old else None


async def _answers(stage: Stage, name: str) -> str | None:
    return "it answers" if await stage.target.answers(name) else None


async def _expect_same_term(stage: Stage, leader: Leader, fault: Fault) -> None:
    """Note that the leader charges in its term when a lease that was not renewed since the fault is over."""
    await _until_lease_over(stage, fault)
    await stage.expect_charging(fault)
    newest = await stage.eyes.newest_term()
    lasted_s = (now() - fault.began_at).total_seconds()
    stage.observe(
        f"{leader.name} still leads term {leader.term} when an unrenewed lease would be over",
        newest == leader.term,
        f"the newest term is {newest}, {lasted_s:.1f} s after the fault began",
        fault,
    )


async def _until_lease_over(stage: Stage, fault: Fault) -> None:
    """Wait until a lease that was not renewed since the fault began is over."""
    over_s = stage.target.lease_ttl_s + BEYOND_LEASE_S - (now() - fault.began_at).total_seconds()
    await asyncio.sleep(max(0.0, over_s))


async def _revision(stage: Stage, term: int) -> int:
    return int(await stage.eyes.value(_REVISION, term))


ETCD: tuple[Scenario, ...] = (
    Scenario(
        name="etcd-kill-member",
        group=GROUP,
        shows="one of etcd's members dies: the others are a majority, and the leader keeps its term",
        play=kill_member,
    ),
    Scenario(
        name="etcd-kill-raft-leader",
        group=GROUP,
        shows="etcd's own leader dies: the others elect another one before the lease is over, and the term goes on",
        play=kill_raft_leader,
    ),
    Scenario(
        name="etcd-freeze-member",
        group=GROUP,
        shows="one of etcd's members takes calls and never answers: nobody waits for it",
        play=freeze_member,
    ),
    Scenario(
        name="etcd-freeze-raft-leader",
        group=GROUP,
        shows="etcd's own leader takes calls and never answers: the others elect another one, and the term goes on",
        play=freeze_raft_leader,
    ),
    Scenario(
        name="etcd-lose-quorum",
        group=GROUP,
        shows="without a majority of etcd nobody charges once trust is over, while the API serves; with it somebody does",
        play=lose_quorum,
    ),
    Scenario(
        name="etcd-restart-all",
        group=GROUP,
        shows="all of etcd dies and starts again: it knows what it knew, and charging goes on",
        play=restart_all,
    ),
    Scenario(
        name="etcd-restore-snapshot",
        group=GROUP,
        shows="etcd is restored from a snapshot: its revisions go back, the token does not, and the fence holds",
        play=restore_snapshot,
        needs=frozenset({Need.DATA}),
        limit_s=90.0,
    ),
)
