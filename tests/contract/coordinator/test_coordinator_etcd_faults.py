"""The etcd adapter while etcd's own members die, freeze, restart and lose their quorum."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from tests.support.coordinator_rigs import CLOCK, EtcdRig, leader_and_follower

from cluster.etcd import EtcdCluster
from cluster.health import http_client
from middleman.ports.coordinator import (
    Candidacy,
    CandidacyLost,
    Coordinator,
    CoordinatorUnavailable,
    Election,
)

pytestmark = pytest.mark.timeout(60)

MISCOUNTING = ("3.5.0", "3.5.1", "3.5.2")
"""A member of these that is killed at the wrong moment may miss a write and number its revisions differently ever after
(etcd issue 13766). It is rare: seen here once, two revisions short on one member. One more reason why the revision is
recorded and is not the fence (ADR 0002)."""


async def _hold_without_loss(leader: Candidacy, duration_s: float) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(leader.lost(), duration_s)
    leader.trust.require()
    assert await leader.still_elected()


async def test_a_killed_member_costs_neither_leader_nor_election(brisk_etcd_rig: EtcdRig) -> None:
    client, other = brisk_etcd_rig.direct(), brisk_etcd_rig.direct()
    raft_leader = await brisk_etcd_rig.cluster.raft_leader()
    victim = next(member for member in brisk_etcd_rig.cluster.members if member is not raft_leader)
    async with leader_and_follower(client, other) as (leader, follower):
        first = await leader.elected()
        await victim.kill()
        await _hold_without_loss(leader, brisk_etcd_rig.timing.lease_ttl_s)
        await leader.resign()
        second = await asyncio.wait_for(follower.elected(), 0.5)
        assert second.revision > first.revision


async def test_a_frozen_member_costs_neither_leader_nor_election(brisk_etcd_rig: EtcdRig) -> None:
    client, other = brisk_etcd_rig.direct(), brisk_etcd_rig.direct()
    raft_leader = await brisk_etcd_rig.cluster.raft_leader()
    victim = next(member for member in brisk_etcd_rig.cluster.members if member is not raft_leader)
    async with leader_and_follower(client, other) as (leader, follower):
        victim.pause()
        await _hold_without_loss(leader, brisk_etcd_rig.timing.lease_ttl_s)
        began_s = CLOCK.boottime_s()
        await client.leader(0)
        assert CLOCK.boottime_s() - began_s < 0.4  # at most one hedge, never the RPC's whole timeout
        await leader.resign()
        await asyncio.wait_for(follower.elected(), 0.5)


@pytest.mark.parametrize("how", ["kill", "freeze"])
async def test_losing_etcds_own_leader_never_makes_two_leaders(etcd_rig: EtcdRig, how: str) -> None:
    client, other = etcd_rig.direct(), etcd_rig.direct()
    async with leader_and_follower(client, other) as (leader, follower):
        raft_leader = await etcd_rig.cluster.raft_leader()
        if how == "kill":
            await raft_leader.kill()
        else:
            raft_leader.pause()
        taken_over = asyncio.create_task(_trust_left_at_takeover(leader, follower))
        held = asyncio.create_task(leader.lost())
        await asyncio.wait({taken_over, held}, timeout=etcd_rig.timing.lease_ttl_s + 0.5)
        held.cancel()
        if not leader.trust.lost_because:
            assert await leader.still_elected()  # the usual case at this timing
            assert not taken_over.done()
            await leader.resign()
        assert await asyncio.wait_for(taken_over, etcd_rig.timing.lease_ttl_s * 3) == 0


async def test_a_restart_of_the_whole_cluster_leaves_one_leader(etcd_rig: EtcdRig) -> None:
    client, other = etcd_rig.direct(), etcd_rig.direct()
    cluster = etcd_rig.cluster
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(client.candidacy(0, "a"))
        first = await leader.elected()
        await asyncio.gather(*(member.kill() for member in cluster.members))
        await cluster.start()
        newcomer = await stack.enter_async_context(other.candidacy(0, "b"))
        taken_over = asyncio.create_task(_trust_left_at_takeover(leader, newcomer))
        if leader.trust.lost_because is None:
            await leader.resign()
        assert await asyncio.wait_for(taken_over, etcd_rig.timing.lease_ttl_s * 3) == 0
        second = await newcomer.elected()
        assert second.revision > first.revision
        assert await newcomer.still_elected()
        assert not await leader.still_elected()


async def test_a_lost_quorum_ends_trust_and_a_regained_one_elects_again(etcd_rig: EtcdRig) -> None:
    client, other = etcd_rig.direct(), etcd_rig.direct()
    members = etcd_rig.cluster.members
    async with AsyncExitStack() as stack:
        leader = await stack.enter_async_context(client.candidacy(0, "a"))
        await asyncio.wait_for(leader.elected(), 2)
        follower = await stack.enter_async_context(other.candidacy(0, "b"))
        for member in members[:2]:
            member.pause()
        cut_s = CLOCK.boottime_s()
        reason = await asyncio.wait_for(leader.lost(), etcd_rig.timing.lease_ttl_s + 1)
        assert "not renewed in time" in reason
        assert CLOCK.boottime_s() - cut_s <= etcd_rig.timing.trusted_s + 0.3
        await asyncio.wait_for(follower.lost(), etcd_rig.timing.lease_ttl_s + 1)
        with pytest.raises(CoordinatorUnavailable):
            await client.leader(0)
        for member in members[:2]:
            member.resume()
        await leader.resign()
        again = await stack.enter_async_context(other.candidacy(0, "b"))
        await asyncio.wait_for(again.elected(), etcd_rig.timing.lease_ttl_s * 2 + 2)
        assert await again.still_elected()


async def test_a_quorum_lost_for_less_than_the_lease_costs_nothing(etcd_rig: EtcdRig) -> None:
    client = etcd_rig.direct()
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        for member in etcd_rig.cluster.members[:2]:
            member.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leader.lost(), 0.7)
        for member in etcd_rig.cluster.members[:2]:
            member.resume()
        await _hold_without_loss(leader, etcd_rig.timing.lease_ttl_s - 0.7)


async def test_candidates_keep_electing_while_members_fall_one_after_the_other(etcd_rig: EtcdRig) -> None:
    """A rolling restart under ten handovers: every one of them works, and revisions only grow where etcd can count."""
    cluster = etcd_rig.cluster
    clients = [etcd_rig.direct() for _ in range(2)]
    elections: list[tuple[int, Election]] = []
    stop = asyncio.Event()

    async def rolling() -> None:
        for member in cluster.members:
            await member.restart(graceful=False)
        stop.set()

    restarts = asyncio.create_task(rolling())
    turn = 0
    while not stop.is_set() or turn < 10:
        election = await _lead_once(clients[turn % 2], f"candidate-{turn}")
        if election is not None:
            elections.append((turn % 2, election))
        turn += 1
    await restarts
    assert len(elections) >= 10
    assert len({election.lease_id for _, election in elections}) == len(elections)
    for client in (0, 1):
        _only_grow([election.revision for asker, election in elections if asker == client])
    if await _version(cluster) not in MISCOUNTING:
        _only_grow([election.revision for _, election in elections])


def _only_grow(revisions: list[int]) -> None:
    assert revisions == sorted(set(revisions))


async def _version(cluster: EtcdCluster) -> str:
    async with http_client() as client:
        answer = (await client.get(f"{cluster.members[0].url}/version")).raise_for_status()
    return str(answer.json()["etcdserver"])


async def _lead_once(client: Coordinator, name: str) -> Election | None:
    """Stand, win, resign; ``None`` when the cluster could not be asked, which a rolling restart allows."""
    try:
        async with client.candidacy(0, name) as candidacy:
            return await asyncio.wait_for(candidacy.elected(), 10)
    except (CandidacyLost, CoordinatorUnavailable):
        return None


async def _trust_left_at_takeover(leader: Candidacy, follower: Candidacy) -> float:
    """How much trust the old leader has left at the moment when the new one is told of its election."""
    await follower.elected()
    return leader.trust.remaining_s()
