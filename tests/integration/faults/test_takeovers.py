"""Leaders that die, leave, or lose what they stand on, in the middle of a batch."""

import asyncio
import signal
import time

from tests.support.fault_world import LEASE_TTL_S, SAFE, FaultWorld, elapsed_s

DUE = 240
LATENCY_MS = 150  # a batch of this size then takes more than a second, and is hit in its middle
STARTED = 8


async def in_the_middle_of_a_batch(world: FaultWorld) -> str:
    """Let a batch fall due and return when some of it is paid and most of it is not."""
    await world.slow_processor(LATENCY_MS)
    prefix = await world.subscribe(DUE)
    progress = await world.until_paid(prefix, STARTED)
    assert progress.paid < DUE
    assert progress.open > 0
    return prefix


async def test_a_killed_leader_is_replaced_and_its_open_attempts_are_resolved(world: FaultWorld) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE, replica_3=SAFE)
    old = await world.leader()
    prefix = await in_the_middle_of_a_batch(world)
    killed_at_s = time.monotonic()
    assert await world.cluster.member(old.name).kill() == -signal.SIGKILL
    new = await world.leader(after_term=old.term)
    assert new.name != old.name
    assert elapsed_s(killed_at_s) < LEASE_TTL_S + 4, (
        "the lease's time, and the little that taking office takes"
    )
    await world.assert_charged_once(prefix, DUE)
    assert (await world.until_logged(new.name, "recovery.finished"))["attempts"] > 0
    await world.assert_verdict_holds()


async def test_a_leader_that_is_asked_to_stop_hands_over_at_once_and_leaves_nothing_unknown(
    world: FaultWorld,
) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    old = await world.leader()
    prefix = await in_the_middle_of_a_batch(world)
    stopping = asyncio.create_task(world.cluster.member(old.name).stop())
    new = await world.leader(after_term=old.term)
    assert await stopping == 0
    stopped = await world.until_logged(old.name, "term.ended")
    started = await world.until_logged(new.name, "term.started")
    assert stopped["reason"] == "stopped"
    handover_s = await world.fetch(
        "SELECT extract(epoch FROM new.started_at - old.ended_at)::float8 AS gap_s"
        " FROM terms old, terms new WHERE old.number = $1 AND new.number = $2",
        old.term,
        new.term,
    )
    assert 0 <= handover_s[0]["gap_s"] < 1, "milliseconds; never the lease's three seconds"
    assert started["token"] == old.term + 1
    await world.assert_charged_once(prefix, DUE)
    unknown = await world.fetch(
        "SELECT id FROM payment_attempts WHERE unknown_at IS NOT NULL AND id LIKE 'at\\_' || $1 || 'x%'",
        prefix,
    )
    assert unknown == [], "calls in flight ended and were settled before the leader left"
    await world.assert_verdict_holds()


async def test_when_every_replica_is_killed_the_next_one_to_start_finishes_the_batch(
    world: FaultWorld,
) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    old = await world.leader()
    prefix = await in_the_middle_of_a_batch(world)
    await asyncio.gather(*(replica.kill() for replica in world.cluster.replicas))
    left = await world.progress(prefix)
    assert left.open > 0
    await world.team(replica_3=SAFE)
    assert (await world.leader(after_term=old.term)).name == "replica-3"
    await world.assert_charged_once(prefix, DUE)
    assert world.log("replica-3", "recovery.finished")[0]["attempts"] == left.open
    await world.assert_verdict_holds()


async def test_a_database_that_crashes_under_the_leader_loses_nothing(world: FaultWorld) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    leader = await world.leader()
    prefix = await in_the_middle_of_a_batch(world)
    await world.cluster.postgres.kill()
    await world.until_logged(leader.name, "store.unavailable")
    await world.cluster.postgres.start()
    await world.assert_charged_once(prefix, DUE)
    assert await world.leader() == leader, "the lease held, so the term goes on"
    await world.assert_verdict_holds()


async def test_a_processor_that_crashes_in_a_batch_is_asked_again_when_it_is_back(world: FaultWorld) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    leader = await world.leader()
    prefix = await in_the_middle_of_a_batch(world)
    await world.cluster.sandbox.kill()
    await world.until_some_unknown(prefix)
    await world.cluster.sandbox.start()
    await world.assert_charged_once(prefix, DUE)
    assert await world.leader() == leader
    await world.assert_verdict_holds()


async def test_lost_answers_are_resolved_by_reading_and_never_charged_again(world: FaultWorld) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    await world.fault({"type": "drop_after"}, operation="payment_intents.confirm", times=DUE // 4)
    await world.fault({"type": "drop_after"}, operation="payment_intents.create", times=DUE // 4)
    prefix = await world.subscribe(DUE)
    await world.assert_charged_once(prefix, DUE)
    await world.until_some_unknown(prefix, at_least=DUE // 4)
    await world.assert_verdict_holds()


async def test_the_death_of_etcds_raft_leader_disturbs_no_batch(world: FaultWorld) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    prefix = await in_the_middle_of_a_batch(world)
    raft_leader = await world.cluster.etcd.raft_leader()
    await raft_leader.kill()
    await world.assert_charged_once(prefix, DUE)
    await raft_leader.start()
    await world.leader()
    await world.assert_verdict_holds()
