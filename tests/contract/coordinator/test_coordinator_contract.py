"""What every Coordinator promises, tried on each of them."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest
from tests.support.coordinator_rigs import CLOCK, Rig, leader_and_follower
from tests.support.fake_coordinator import LinkMode

from middleman.ports.coordinator import CandidacyLost, CoordinatorUnavailable
from middleman.ports.errors import TrustLost

pytestmark = pytest.mark.timeout(30)
AT_ONCE_S = 0.5
"""Far below any TTL: who is elected within it did not wait for an expiry."""


async def test_exactly_one_of_several_candidates_is_elected(rig: Rig) -> None:
    async with AsyncExitStack() as stack:
        elections = {}
        for name in ("a", "b", "c"):
            client, _ = await rig.client()
            candidacy = await stack.enter_async_context(client.candidacy(0, name))
            elections[name] = asyncio.create_task(candidacy.elected())
        done, waiting = await asyncio.wait(elections.values(), timeout=AT_ONCE_S)
        for task in waiting:
            task.cancel()
        record = await client.leader(0)

    assert len(done) == 1
    assert record is not None
    won = await elections[record.candidate]
    assert (won.revision, won.lease_id) == (record.revision, record.lease_id)


async def test_nobody_leads_a_scope_that_nobody_stood_for(rig: Rig) -> None:
    client, _ = await rig.client()
    assert await client.leader(7) is None


async def test_scopes_have_leaders_of_their_own(rig: Rig) -> None:
    client, _ = await rig.client()
    async with client.candidacy(0, "a") as first, client.candidacy(1, "b") as second:
        await first.elected()
        await second.elected()
        leaders = [await client.leader(scope) for scope in (0, 1)]
    assert [leader.candidate for leader in leaders if leader is not None] == ["a", "b"]


async def test_a_resignation_hands_over_without_waiting_for_the_lease(rig: Rig) -> None:
    (client, _), (other, _) = await rig.client(), await rig.client()
    async with leader_and_follower(client, other) as (leader, follower):
        first = await leader.elected()
        successor = asyncio.create_task(follower.elected())
        assert await other.leader(0) is not None  # the follower's own try lies behind or beside this
        began_s = CLOCK.boottime_s()
        await leader.resign()
        second = await asyncio.wait_for(successor, AT_ONCE_S)
        took_s = CLOCK.boottime_s() - began_s

        assert second.revision > first.revision
        assert took_s < AT_ONCE_S
        assert await leader.lost() == "resigned"
        assert not await leader.still_elected()
        assert await follower.still_elected()
        await leader.resign()  # idempotent
        assert await follower.still_elected()


async def test_leaving_the_candidacy_resigns(rig: Rig) -> None:
    (client, _), (other, _) = await rig.client(), await rig.client()
    async with AsyncExitStack() as stack:
        async with client.candidacy(0, "a") as leader:
            await leader.elected()
            follower = await stack.enter_async_context(other.candidacy(0, "b"))
            assert await other.leader(0) is not None
        await asyncio.wait_for(follower.elected(), AT_ONCE_S)
    assert await client.leader(0) is None


async def test_a_lease_that_is_kept_alive_outlives_its_ttl(rig: Rig) -> None:
    client, _ = await rig.client()
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leader.lost(), rig.timing.lease_ttl_s * 1.5)
        leader.trust.require()
        assert leader.trust.remaining_s() <= rig.timing.trusted_s
        assert await leader.still_elected()


async def test_a_leader_cut_off_stops_trusting_itself_before_another_is_elected(rig: Rig) -> None:
    (client, set_link), (other, _) = await rig.client(), await rig.client()
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        async with other.candidacy(0, "b") as follower:
            set_link(LinkMode.BLOCKED)
            cut_s = CLOCK.boottime_s()
            successor = asyncio.create_task(follower.elected())
            reason = await asyncio.wait_for(leader.lost(), rig.timing.lease_ttl_s)
            lost_s = CLOCK.boottime_s()
            assert not successor.done()

            assert "not renewed in time" in reason
            assert lost_s - cut_s <= rig.timing.trusted_s + 0.2
            assert leader.trust.remaining_s() == 0
            with pytest.raises(TrustLost):
                leader.trust.require()
            await asyncio.wait_for(successor, rig.timing.lease_ttl_s + 3)
            assert CLOCK.boottime_s() > lost_s
            set_link(LinkMode.OPEN)


async def test_a_link_that_comes_back_revives_nothing(rig: Rig) -> None:
    client, set_link = await rig.client()
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        set_link(LinkMode.DEAF)
        reason = await asyncio.wait_for(leader.lost(), rig.timing.lease_ttl_s + 1)
        set_link(LinkMode.OPEN)  # now the held answers arrive, while the lease still lives at the service
        witness, _ = await rig.client()
        await witness.leader(0)  # one round trip later they have
        assert await leader.lost() == reason
        assert not await leader.still_elected()
        with pytest.raises(TrustLost):
            leader.trust.require()


async def test_a_stalled_event_loop_ends_trust_before_anything_else_runs(rig: Rig) -> None:
    client, _ = await rig.client()
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        leader.trust.require()
        time.sleep(rig.timing.lease_ttl_s)  # noqa: ASYNC251 -- stalling the loop is what is tested
        with pytest.raises(TrustLost):
            leader.trust.require()
        assert "not renewed in time" in await asyncio.wait_for(leader.lost(), AT_ONCE_S)


async def test_a_victory_whose_answer_was_lost_is_recognised(rig: Rig) -> None:
    (client, set_link), (witness, _) = await rig.client(), await rig.client()
    async with witness.candidacy(0, "holder") as holder:
        await holder.elected()
        async with client.candidacy(0, "a") as candidate:
            won = asyncio.create_task(candidate.elected())
            set_link(LinkMode.DEAF)
            await holder.resign()
            async with asyncio.timeout(rig.timing.trusted_s):
                # Its verifying try arrives and wins, but no answer comes back.
                while (record := await witness.leader(0)) is None:  # noqa: ASYNC110 -- the service has no event for it
                    await asyncio.sleep(0.01)
            assert record.candidate == "a"
            assert not won.done()
            set_link(LinkMode.OPEN)
            election = await asyncio.wait_for(won, rig.timing.lease_ttl_s)
            assert (election.revision, election.lease_id) == (record.revision, record.lease_id)
            assert await candidate.still_elected()


async def test_a_deleted_key_ends_the_leaders_candidacy(rig: Rig) -> None:
    (client, _), (other, _) = await rig.client(), await rig.client()
    async with client.candidacy(0, "a") as leader:
        first = await leader.elected()
        async with other.candidacy(0, "b") as follower:
            await rig.delete_key(0)
            second = await asyncio.wait_for(follower.elected(), AT_ONCE_S * 2)
            reason = await asyncio.wait_for(leader.lost(), rig.timing.verify_interval_s + AT_ONCE_S)
            assert second.revision > first.revision
            assert "election key" in reason
            assert not await leader.still_elected()
            assert leader.trust.remaining_s() == 0
            assert await follower.still_elected()


async def test_still_elected_asks_the_service_and_not_our_memory(rig: Rig) -> None:
    client, _ = await rig.client()
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        assert await leader.still_elected()
        await rig.delete_key(0)
        assert not await leader.still_elected()  # whether or not the loss has been noticed yet


async def test_still_elected_is_false_when_the_service_cannot_be_asked(rig: Rig) -> None:
    client, set_link = await rig.client()
    async with client.candidacy(0, "a") as leader:
        await leader.elected()
        set_link(LinkMode.BLOCKED)
        assert not await asyncio.wait_for(leader.still_elected(), rig.timing.call_budget_s + 0.5)
        set_link(LinkMode.OPEN)


async def test_revoking_the_leaders_lease_hands_over_at_once(rig: Rig) -> None:
    (client, _), (other, _) = await rig.client(), await rig.client()
    async with leader_and_follower(client, other) as (leader, follower):
        election = await leader.elected()
        successor = asyncio.create_task(follower.elected())
        record = await other.leader(0)
        assert record is not None
        assert record.lease_id == election.lease_id
        assert await other.revoke(record.lease_id)
        second = await asyncio.wait_for(successor, AT_ONCE_S)
        assert second.revision > election.revision
        await asyncio.wait_for(leader.lost(), rig.timing.lease_ttl_s)
        assert not await other.revoke(record.lease_id)  # already gone, and no error
        assert await follower.still_elected()


async def test_a_revoked_winner_is_told_and_is_never_elected_again(rig: Rig) -> None:
    (client, _), (other, _) = await rig.client(), await rig.client()
    async with leader_and_follower(client, other) as (leader, follower):
        await leader.resign()
        lease_id = (await follower.elected()).lease_id
        await client.revoke(lease_id)
        await asyncio.wait_for(follower.lost(), rig.timing.lease_ttl_s)
        with pytest.raises(CandidacyLost):
            await follower.elected()
    assert await client.leader(0) is None


async def test_giving_up_the_wait_for_election_leaves_the_candidacy_alive(rig: Rig) -> None:
    (client, _), (other, _) = await rig.client(), await rig.client()
    async with leader_and_follower(client, other) as (leader, follower):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(follower.elected(), 0.05)
        await leader.resign()
        await asyncio.wait_for(follower.elected(), AT_ONCE_S)


async def test_an_unreachable_service_is_an_error_within_a_bound(rig: Rig) -> None:
    client, set_link = await rig.client()
    set_link(LinkMode.BLOCKED)
    bound_s = rig.timing.call_budget_s + 0.5

    async def stand() -> None:
        async with client.candidacy(0, "a"):
            pytest.fail("a candidacy without a service")

    answers = await asyncio.wait_for(
        asyncio.gather(client.check(), client.leader(0), client.revoke(1), stand(), return_exceptions=True),
        bound_s,
    )
    assert [type(answer) for answer in answers] == [CoordinatorUnavailable] * 4
    assert all("no answer within" in str(answer) for answer in answers)
    set_link(LinkMode.OPEN)
    await asyncio.wait_for(client.check(), bound_s)


async def test_a_blink_of_the_link_costs_no_leadership(rig: Rig) -> None:
    client, set_link = await rig.client()
    async with client.candidacy(0, "a") as leader:
        election = await leader.elected()
        set_link(LinkMode.BLOCKED)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leader.lost(), rig.timing.lease_ttl_s / 4)
        set_link(LinkMode.OPEN)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leader.lost(), rig.timing.lease_ttl_s * 0.75)
        assert await leader.still_elected()
        record = await client.leader(0)
        assert record is not None
        assert record.revision == election.revision
