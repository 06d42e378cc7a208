"""Servers that are away for a while: nobody charges on a guess, and nothing is lost."""

import asyncio

from tests.support.fault_world import SAFE, FaultWorld

DUE = 240


async def test_without_a_quorum_of_etcd_nobody_charges_and_with_it_the_batch_is_finished(
    world: FaultWorld,
) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    old = await world.leader()
    await world.slow_processor(400)  # the batch outlives the leader's trust
    survivor, *majority = world.cluster.etcd.members
    await asyncio.gather(*(member.kill() for member in majority))
    prefix = await world.subscribe(DUE)
    ended = await world.until_logged(old.name, "term.ended", token=old.term)
    assert "trust" in ended["reason"] or "lease" in ended["reason"], ended
    left = await world.progress(prefix)
    assert left.paid < DUE

    await world.calm()
    new = await world.leader(after_term=old.term)
    await world.assert_charged_once(prefix, DUE)
    [resumed] = world.log(new.name, "recovery.finished")[-1:]
    assert resumed["token"] == new.term
    between = await world.fetch(
        "SELECT count(*) AS n FROM payment_attempts WHERE settled_at > $1::text::timestamptz AND settled_at <"
        " (SELECT started_at FROM terms WHERE number = $2)",
        ended["timestamp"],
        new.term,
    )
    assert between[0]["n"] == 0, "nobody led, so nobody settled"
    assert survivor.is_running
    await world.assert_verdict_holds()


async def test_a_replica_that_starts_before_its_database_charges_once_that_is_there(
    world: FaultWorld,
) -> None:
    await world.team()
    prefix = await world.subscribe(DUE)
    await world.cluster.postgres.stop()
    replica = await world.launch("replica-1", SAFE)
    await world.until_logged("replica-1", "replica.not_warm")
    assert replica.is_running
    await world.cluster.postgres.start()
    await replica.wait_ready()
    await world.assert_charged_once(prefix, DUE)
    await world.assert_verdict_holds()
