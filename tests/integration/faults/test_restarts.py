"""Replicas that come and go while periods fall due all the time: nobody notices but their leader, if they are it."""

import asyncio
import itertools
import signal
from datetime import timedelta
from typing import Any

import pytest
from tests.support.fault_world import SAFE, FaultWorld

REPLICAS = ("replica-1", "replica-2", "replica-3")
DUE = 60
PER_SECOND = 10  # so that periods fall due for six seconds
CRASHES = 3

# Whatever the term, by the database's clock: when it ended and the next began, and what it settled.
TERMS = """
    SELECT t.number, t.holder, t.end_reason, next.started_at - t.ended_at AS gap,
           (SELECT count(*) FROM payment_attempts a WHERE a.settled_term = t.number) AS settled
    FROM terms t LEFT JOIN terms next ON next.number = t.number + 1
    WHERE t.number >= $1 ORDER BY t.number
"""


async def restart(world: FaultWorld, name: str) -> list[dict[str, Any]]:
    """SIGTERM, wait until it is gone, start it again and wait until it is ready; returns what it logged before."""
    assert await world.cluster.member(name).stop() == 0
    last_words = world.log(name)
    await world.launch(name, SAFE)
    await world.cluster.member(name).wait_ready()
    return last_words


async def test_a_rolling_restart_of_all_replicas_loses_no_tick(world: FaultWorld) -> None:
    await world.team(**{name.replace("-", "_"): SAFE for name in REPLICAS})
    first = await world.leader()
    prefixes = []
    hand_overs = 0
    for name in REPLICAS:
        before = await world.leader()
        prefixes.append(prefix := await world.subscribe_from_now_on(DUE, per_s=PER_SECOND))
        assert (await world.until_paid(prefix, 1)).paid < DUE, "more falls due during what comes now"
        last_words = await restart(world, name)
        if before.name != name:
            assert await world.leader() == before, "a follower that restarts changes nothing"
            continue
        hand_overs += 1
        after = await world.leader(after_term=before.term)
        assert (after.term, after.name != name) == (before.term + 1, True)
        [ended] = [line for line in last_words if line["event"] == "term.ended"]
        assert (ended["token"], ended["reason"]) == (before.term, "stopped")
        failed = [line for line in last_words if line["event"] == "lease.revoke_failed"]
        assert not failed, "it gave its lease up, so that nobody had to wait until that ran out"
        took_over = await world.until_logged(after.name, "takeover.measured", token=after.term)
        assert took_over["lost_by"] == "key", (
            "told by the deleted key, neither by a broken pulse nor by nothing"
        )
    for prefix in prefixes:
        await world.assert_charged_once(prefix, DUE)
    terms = await world.fetch(TERMS, first.term)
    assert hand_overs >= 1
    assert len(terms) == hand_overs + 1
    assert all(term["settled"] > 0 for term in terms), "periods fell due in each of the terms"
    for old, _ in itertools.pairwise(terms):
        assert old["gap"] >= timedelta(0)
    await world.assert_verdict_holds()


@pytest.mark.parametrize("ready", [True, False], ids=["as soon as it is ready", "as soon as it has begun"])
async def test_a_replica_that_keeps_crashing_never_disturbs_a_healthy_leader(
    world: FaultWorld, ready: bool
) -> None:
    await world.team(replica_1=SAFE)
    leader = await world.leader()
    prefix = await world.subscribe_from_now_on(DUE, per_s=PER_SECOND)
    for _ in range(CRASHES):
        # Should it ever lead, it dies of that.
        crashing = await world.launch("replica-2", {"MIDDLEMAN_FAILPOINTS": "before_claim=kill"})
        if ready:
            await crashing.wait_ready()
        else:
            await world.until_logged("replica-2", "replica.started")
        assert await crashing.kill() == -signal.SIGKILL
        assert not world.log("replica-2", "election.won")
    await world.assert_charged_once(prefix, DUE)
    assert await world.leader() == leader
    assert len(await world.fetch(TERMS, leader.term)) == 1
    await world.assert_verdict_holds()


async def test_followers_that_start_up_together_disturb_no_leader(world: FaultWorld) -> None:
    await world.team(replica_1=SAFE)
    leader = await world.leader()
    prefix = await world.subscribe_from_now_on(DUE, per_s=PER_SECOND)
    await asyncio.gather(*(world.launch(name, SAFE) for name in REPLICAS[1:]))
    await asyncio.gather(*(world.cluster.member(name).wait_ready() for name in REPLICAS[1:]))
    for name in REPLICAS[1:]:
        await world.until_logged(name, "pulse.felt")
    await world.assert_charged_once(prefix, DUE)
    assert await world.leader() == leader
    assert len(await world.fetch(TERMS, leader.term)) == 1
    await world.assert_verdict_holds()
