"""Fast failover: the kernel tells the followers that the leader's process is gone."""

import signal
from datetime import UTC, datetime

from tests.support.fault_world import SAFE, FaultWorld
from tests.support.links import Relay

DUE = 120
BY_PULSE_S = 0.3
"""By the lease it would take its TTL, three seconds."""
LEASE_ONLY = {"MIDDLEMAN_PULSE": "off"}


async def test_a_killed_leader_loses_its_lease_to_a_follower_and_nothing_is_charged_twice(
    world: FaultWorld,
) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE, replica_3=SAFE)
    old = await world.leader()
    followers = [name for name in ("replica-1", "replica-2", "replica-3") if name != old.name]
    for name in followers:
        await world.until_logged(name, "pulse.felt")
    await world.slow_processor(100)
    prefix = await world.subscribe(DUE)
    await world.until_paid(prefix, 1)
    assert await world.cluster.member(old.name).kill() == -signal.SIGKILL
    new = await world.leader(after_term=old.term)
    assert new.term == old.term + 1
    revocations = [entry for name in followers for entry in world.log(name, "leader.revoked")]
    assert [entry["leader"].partition("#")[0] for entry in revocations if entry["first"]] == [old.name]
    await world.assert_charged_once(prefix, DUE)
    await world.assert_verdict_holds()


async def test_without_the_pulse_the_lease_runs_out(world: FaultWorld) -> None:
    await world.team(replica_1=LEASE_ONLY, replica_2=LEASE_ONLY)
    old = await world.leader()
    assert await world.cluster.member(old.name).kill() == -signal.SIGKILL
    new = await world.leader(after_term=old.term)
    assert not world.log(new.name, "pulse.felt")
    assert not world.log(new.name, "leader.revoked")


async def test_a_wrong_suspicion_costs_one_needless_failover_and_nothing_else(world: FaultWorld) -> None:
    """The leader lives and charges, while its followers see their connections cut and refused."""
    relay = Relay(f"127.0.0.1:{world.cluster.member('replica-1').port}")
    address = await relay.start()
    try:
        await world.team()
        await world.launch("replica-1", {"MIDDLEMAN_OPS_ADVERTISE": address})
        old = await world.leader()
        await world.team_beside("replica-1", replica_2=SAFE)
        await world.until_logged("replica-2", "pulse.felt")
        await world.slow_processor(100)
        prefix = await world.subscribe(DUE)
        await world.until_paid(prefix, 1)
        await relay.close()  # what was connected is cut, and who connects again is refused
        new = await world.leader(after_term=old.term)
        assert (new.name, new.term) == ("replica-2", old.term + 1)
        ended = await world.until_logged("replica-1", "term.ended", token=old.term)
        assert ended["reason"]
        await world.assert_charged_once(prefix, DUE)
        assert await world.leader() == new, "one failover, and no more"
        await world.assert_verdict_holds()
    finally:
        await relay.close()


async def test_over_ipv6_a_killed_leader_is_noticed_by_its_pulse_as_over_ipv4(world: FaultWorld) -> None:
    over_ipv6 = {"MIDDLEMAN_OPS_HOST": "::1", "MIDDLEMAN_OPS_ADVERTISE": ""}
    await world.team()
    await world.revoke_leases()
    await world.launch("replica-1", over_ipv6)
    first = await world.until_logged("replica-1", "term.started")
    await world.launch("replica-2", over_ipv6)
    felt = await world.until_logged("replica-2", "pulse.felt")
    assert felt["address"] == f"[::1]:{world.cluster.member('replica-1').port}"
    await world.until_logged("replica-2", "replica.warm")

    killed_at = datetime.now(UTC)
    assert await world.cluster.member("replica-1").kill() == -signal.SIGKILL
    revoked = await world.until_logged("replica-2", "leader.revoked")
    second = await world.until_logged("replica-2", "term.started")
    assert revoked["first"]
    assert second["token"] == first["token"] + 1
    took = datetime.fromisoformat(second["timestamp"]) - killed_at
    assert took.total_seconds() < BY_PULSE_S
    assert not world.log("replica-2", "pulse.missing")
