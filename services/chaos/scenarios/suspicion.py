"""Followers that lose the leader's pulse although it lives: in silence, and by a refusal that lies."""

import asyncio

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Side
from chaos.faults.links import broken, cut
from chaos.scenarios.witness import expect_stood_down, felt, observe_silence, others, revocations

BEYOND_LEASE_S = 1.0


async def lose_sight(stage: Stage) -> None:
    """Nothing passes between the leader and its followers, for longer than a lease."""
    leader = await stage.leader()
    await felt(stage, leader)
    async with cut(stage, leader.name, Side.PEERS) as fault:
        await asyncio.sleep(stage.target.lease_ttl_s + BEYOND_LEASE_S)
        await stage.expect_charging(fault)
        suspicions = _suspicions(stage, leader.name, fault)
        stage.observe("nobody takes silence for a death", not suspicions, f"suspicions: {suspicions}", fault)
    terms = [term.number for term in await stage.eyes.terms(after=leader.term - 1)]
    stage.observe("the same term goes on", terms == [leader.term], f"terms {terms}", fault)


async def suspect_wrongly(stage: Stage) -> None:
    """The leader's followers are disconnected and refused, as if it were dead."""
    leader = await stage.leader()
    await felt(stage, leader)
    async with broken(stage, leader.name, "refuse", Side.PEERS) as fault:
        successor = await stage.expect_successor(leader, fault)
        revoked = revocations(stage, fault)
        stage.observe(
            "a follower took the lease of a leader that lives",
            bool(revoked) and stage.target.is_running(leader.name),
            f"{leader.name} runs, its lease was taken by {', '.join(line['by'] for line in revoked)}",
            fault,
        )
        await expect_stood_down(stage, leader, fault, words=("lease", "election key", "refused"))
        await stage.expect_charging(fault)
    await observe_silence(stage, leader, successor, fault)
    terms = [term.number for term in await stage.eyes.terms(after=leader.term)]
    stage.observe("it cost one needless term", terms == [successor.term], f"terms {terms} began", fault)


def _suspicions(stage: Stage, leader: str, fault: Fault) -> list[str]:
    """Who takes the leader for dead, or took its lease."""
    return [
        name
        for name in others(stage, leader)
        if stage.eyes.logged(name, "pulse.broken", since=fault.began_at, definite=True)
        or stage.eyes.logged(name, "leader.revoked", since=fault.began_at)
    ]
