"""The replica's life under virtual time: how terms begin and how they end."""

import asyncio
import dataclasses

import pytest
from structlog.testing import capture_logs
from tests.support.fake_coordinator import LinkMode
from tests.support.replica_world import LEASE, LIFE, world
from tests.support.virtual_time import in_virtual_time

from middleman.leadership.observer import Role
from middleman.leadership.tenure import PipelineStuck
from middleman.ports.errors import OfficeUnavailable, StaleTerm, TrustLost
from middleman.ports.store import StoreUnavailable
from middleman.ports.term import Term
from middleman.ports.trust import Trust


@in_virtual_time
async def test_an_elected_replica_takes_office_and_leads_under_the_term_it_was_given() -> None:
    async with world() as w:
        leader = await w.leading()
        (term,) = leader.pipeline.terms
        record = await leader.coordinator.leader(0)
        assert record is not None
        assert (term.number, term.holder, term.election_revision) == (1, "r1", record.revision)
        assert leader.witness.role is Role.LEADER
        assert leader.pipeline.trust is not None
        leader.pipeline.trust.require()


@in_virtual_time
async def test_a_life_is_told_in_order() -> None:
    async with world() as w:
        leader = await w.leading()
        await w.clock.sleep(5)
        await leader.stop()
        assert leader.witness.seen == [
            ("role", Role.CANDIDATE),
            ("role", Role.FOLLOWER),
            ("won", 2),
            ("role", Role.LEADER),
            ("started", 1),
            ("ended", 1),
            ("role", Role.STOOD_DOWN),
        ]
        assert leader.witness.durations_s["lasted"] == pytest.approx(5)


@in_virtual_time
async def test_only_one_of_three_replicas_leads() -> None:
    async with world() as w:
        actors = [w.replica(name) for name in ("r1", "r2", "r3")]
        await w.clock.sleep(60)
        assert sorted(actor.witness.role or "" for actor in actors) == ["follower", "follower", "leader"]
        assert w.office.term_number == 1


@in_virtual_time
async def test_a_lost_lease_cancels_the_pipeline_and_a_new_candidacy_begins() -> None:
    async with world() as w:
        leader = await w.leading()
        leader.coordinator.link.set_mode(LinkMode.BLOCKED)
        began_s = w.clock.boottime_s()
        await leader.pipeline.ended.wait()
        assert leader.pipeline.cancelled == 1
        assert w.clock.boottime_s() - began_s <= LEASE.trusted_s
        leader.coordinator.link.set_mode(LinkMode.OPEN)
        await leader.pipeline.started.wait()
        assert [term.number for term in leader.pipeline.terms] == [1, 2]
        assert "not renewed in time" in leader.witness.reasons[0]


@in_virtual_time
async def test_a_cut_off_leader_has_stopped_before_its_successor_starts() -> None:
    async with world() as w:
        first = await w.leading("r1")
        second = w.replica("r2")
        await second.witness.until(Role.FOLLOWER)
        first.coordinator.link.set_mode(LinkMode.BLOCKED)
        await second.pipeline.started.wait()
        assert first.pipeline.ended.is_set()
        assert first.witness.role is not Role.LEADER


@in_virtual_time
async def test_a_suspended_machine_wakes_up_without_trust() -> None:
    async with world() as w:
        leader = await w.leading()
        w.clock.suspend(60)
        assert leader.pipeline.trust is not None
        with pytest.raises(TrustLost):
            leader.pipeline.trust.require()
        await asyncio.wait_for(leader.pipeline.ended.wait(), LEASE.lease_ttl_s)


@in_virtual_time
async def test_a_graceful_stop_drains_then_leaves_office_then_hands_over_at_once() -> None:
    async with world() as w:
        order: list[str] = []
        leader = await w.leading("r1")
        follower = w.replica("r2")
        await follower.witness.until(Role.FOLLOWER)

        async def leaving() -> None:
            record = await follower.coordinator.leader(0)
            order.append(f"leaves while {record.candidate if record else 'nobody'} holds the key")

        w.office.before_leaving = leaving
        began_s = w.clock.boottime_s()
        await leader.stop()
        await follower.pipeline.started.wait()

        assert leader.pipeline.drained == 1
        assert leader.pipeline.cancelled == 0
        assert order == ["leaves while r1 holds the key"]
        assert w.office.left == [(1, "stopped")]
        assert w.clock.boottime_s() - began_s < 0.01
        assert leader.witness.role is Role.STOOD_DOWN


@in_virtual_time
async def test_a_successor_does_not_wait_until_a_slow_database_has_recorded_the_end() -> None:
    async with world() as w:
        leader = await w.leading("r1")
        follower = w.replica("r2")
        await follower.witness.until(Role.FOLLOWER)
        w.office.before_leaving = _hang
        began_s = w.clock.boottime_s()
        stopping = asyncio.create_task(leader.stop())
        await follower.pipeline.started.wait()
        assert w.clock.boottime_s() - began_s < LIFE.leave_timeout_s / 10
        await stopping


@in_virtual_time
async def test_a_pipeline_that_drains_too_long_is_cut_off() -> None:
    async with world() as w:
        leader = w.replica("r1")
        leader.pipeline.body = _ignore_draining
        await leader.pipeline.started.wait()
        began_s = w.clock.boottime_s()
        await leader.stop()
        assert w.clock.boottime_s() - began_s == pytest.approx(LIFE.drain_s, abs=0.1)
        assert leader.pipeline.cancelled == 1
        assert "cut off after draining" in leader.witness.reasons[0]


@in_virtual_time
async def test_a_lease_lost_while_draining_stops_the_pipeline_at_once() -> None:
    async with world() as w:
        leader = w.replica("r1")
        leader.pipeline.body = _ignore_draining
        await leader.pipeline.started.wait()
        leader.stopping.set()
        leader.coordinator.link.set_mode(LinkMode.BLOCKED)
        await leader.pipeline.ended.wait()
        await leader.task
        assert "not renewed in time" in leader.witness.reasons[0]


@in_virtual_time
async def test_a_stale_term_stands_down_and_the_replica_stands_again() -> None:
    async with world() as w:
        leader = w.replica("r1")

        async def write_once(term: Term, trust: Trust, draining: asyncio.Event) -> None:
            if term.number == 1:
                w.office.term_number += 5  # somebody else raised the fence
            w.office.require_current(term)
            await draining.wait()

        leader.pipeline.body = write_once
        await leader.witness.until(Role.LEADER)
        await leader.witness.until(Role.STOOD_DOWN)
        await leader.pipeline.started.wait()
        assert [term.number for term in leader.pipeline.terms] == [1, 7]
        assert "the database refused the term" in leader.witness.reasons[0]


@in_virtual_time
async def test_a_crashed_pipeline_hands_over_to_another_replica() -> None:
    async with world() as w:
        first = w.replica("r1")
        first.pipeline.body = _crash
        await first.witness.until(Role.LEADER)
        second = w.replica("r2")
        await second.pipeline.started.wait()
        await w.clock.sleep(60)
        assert second.witness.role is Role.LEADER
        assert "the pipeline failed: ZeroDivisionError" in first.witness.reasons[0]
        assert first.witness.role is Role.FOLLOWER


@in_virtual_time
async def test_a_database_that_is_away_for_too_long_is_logged_as_that_in_one_line() -> None:
    async def wait_in_vain(term: Term, trust: Trust, draining: asyncio.Event) -> None:
        raise StoreUnavailable("no answer within 10.0 s")

    with capture_logs() as logs:
        async with world() as w:
            leader = w.replica("r1")
            leader.pipeline.body = wait_in_vain
            await leader.witness.until(Role.LEADER)
            await leader.witness.until(Role.STOOD_DOWN)
            assert leader.witness.reasons == ["the database was away for too long: no answer within 10.0 s"]
    assert "pipeline.crashed" not in {each["event"] for each in logs}
    [gave_up] = [each for each in logs if each["event"] == "pipeline.gave_up"]
    assert gave_up["log_level"] == "warning"
    assert "exc_info" not in gave_up


@in_virtual_time
async def test_a_pipeline_that_keeps_crashing_is_started_ever_more_slowly() -> None:
    async with world() as w:
        only = w.replica("r1")
        only.pipeline.body = _crash
        await w.clock.sleep(60)
        assert 5 <= len(only.pipeline.terms) <= 30


@in_virtual_time
async def test_a_pipeline_that_returns_unasked_ends_its_term() -> None:
    async with world() as w:
        leader = w.replica("r1")
        leader.pipeline.body = _return
        await leader.witness.until(Role.LEADER)
        await leader.witness.until(Role.STOOD_DOWN)
        assert leader.witness.reasons == ["the pipeline returned although nobody asked it to"]


@in_virtual_time
async def test_a_pipeline_that_cancels_itself_ends_its_term() -> None:
    async with world() as w:
        leader = w.replica("r1")
        leader.pipeline.body = _cancel_itself
        await leader.witness.until(Role.LEADER)
        await leader.witness.until(Role.STOOD_DOWN)
        assert leader.witness.reasons == ["the pipeline was cancelled from within"]


@in_virtual_time
async def test_a_pipeline_that_finds_its_trust_gone_ends_its_term() -> None:
    async with world() as w:
        leader = w.replica("r1")
        leader.pipeline.body = _notice_lost_trust
        await leader.witness.until(Role.LEADER)
        await leader.witness.until(Role.STOOD_DOWN)
        assert leader.witness.reasons == ["looked at the clock"]


@in_virtual_time
async def test_a_pipeline_that_ignores_its_cancellation_ends_the_process_but_gives_up_the_lease() -> None:
    async with world() as w:
        leader = w.replica("r1")
        release = asyncio.Event()

        async def stubborn(term: Term, trust: Trust, draining: asyncio.Event) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        leader.pipeline.body = stubborn
        await leader.pipeline.started.wait()
        w.service.delete_key(0)
        with pytest.raises(PipelineStuck, match="exit the process"):
            await leader.task
        assert w.service.read(0) is None
        release.set()


@in_virtual_time
async def test_a_replica_without_its_database_resigns_so_that_another_may_lead() -> None:
    async with world() as w:
        first = w.replica("r1")
        refusals = iter([True])

        async def refuse_once() -> None:
            if next(refusals, False):
                raise OfficeUnavailable("connection refused")

        w.office.before_taking = refuse_once
        await first.witness.until(Role.FOLLOWER)
        second = w.replica("r2")
        await second.pipeline.started.wait()
        assert first.witness.role is not Role.LEADER
        assert w.office.term_number == 1


@in_virtual_time
@pytest.mark.parametrize("error", [OfficeUnavailable("connection refused"), RuntimeError("a bug")])
async def test_nobody_spins_while_the_database_is_away(error: Exception) -> None:
    async with world() as w:
        actor = w.replica("r1")

        async def refuse() -> None:
            raise error

        w.office.before_taking = refuse
        await w.clock.sleep(60)
        assert 10 <= w.office.asked <= 30
        w.office.before_taking = _well
        await asyncio.wait_for(actor.pipeline.started.wait(), LIFE.backoff_max_s + 1)


@in_virtual_time
async def test_nobody_spins_while_the_coordinator_is_away_and_it_leads_when_it_is_back() -> None:
    async with world() as w:
        actor = w.replica("r1")
        actor.coordinator.link.set_mode(LinkMode.BLOCKED)
        await w.clock.sleep(60)
        assert 5 <= actor.coordinator.entered <= 30
        assert actor.witness.seen[0] == ("role", Role.CANDIDATE)
        actor.coordinator.link.set_mode(LinkMode.OPEN)
        await asyncio.wait_for(actor.pipeline.started.wait(), LIFE.backoff_max_s + 1)


@in_virtual_time
async def test_a_database_that_hangs_costs_no_more_than_the_office_timeout() -> None:
    async with world() as w:
        first = w.replica("r1")
        w.office.before_taking = _hang
        await first.witness.until(Role.FOLLOWER)
        began_s = w.clock.boottime_s()
        await first.witness.until(Role.STOOD_DOWN)
        assert w.clock.boottime_s() - began_s == pytest.approx(LIFE.office_timeout_s, abs=0.1)
        assert w.service.read(0) is None


@in_virtual_time
async def test_taking_office_is_bounded_by_trust() -> None:
    async with world(dataclasses.replace(LIFE, office_timeout_s=100.0)) as w:
        first = w.replica("r1")
        w.office.before_taking = _hang
        await first.witness.until(Role.FOLLOWER)
        began_s = w.clock.boottime_s()
        await first.witness.until(Role.STOOD_DOWN)
        assert w.clock.boottime_s() - began_s <= LEASE.trusted_s


@in_virtual_time
async def test_an_election_lost_while_taking_office_charges_nothing() -> None:
    async with world() as w:
        late = w.replica("r1")

        async def lose_it() -> None:
            w.office.before_taking = _well
            w.service.delete_key(0)

        w.office.before_taking = lose_it
        await late.witness.until(Role.STOOD_DOWN)
        assert w.office.term_number == 1
        assert late.pipeline.terms == []
        await late.pipeline.started.wait()
        assert late.pipeline.terms[0].number == 2


@in_virtual_time
async def test_an_office_record_that_cannot_be_written_delays_nobody() -> None:
    async with world() as w:
        leader = await w.leading("r1")
        follower = w.replica("r2")
        await follower.witness.until(Role.FOLLOWER)
        w.office.before_leaving = _hang
        began_s = w.clock.boottime_s()
        await leader.stop()
        await follower.pipeline.started.wait()
        assert w.clock.boottime_s() - began_s <= LIFE.leave_timeout_s + 0.01
        assert w.office.left == []


@in_virtual_time
async def test_an_office_record_that_the_database_refuses_ends_no_replica() -> None:
    async with world() as w:
        leader = await w.leading("r1")

        async def refuse() -> None:
            raise RuntimeError("cannot execute UPDATE in a read-only transaction")

        w.office.before_leaving = refuse
        w.service.delete_key(0)
        await leader.witness.until(Role.STOOD_DOWN)
        await leader.pipeline.started.wait()
        assert [term.number for term in leader.pipeline.terms] == [1, 2]


@in_virtual_time
async def test_a_successor_does_not_wait_for_the_record_of_a_crash() -> None:
    async with world() as w:
        leader = w.replica("r1")
        fail = asyncio.Event()

        async def crash_when_told(term: Term, trust: Trust, draining: asyncio.Event) -> None:
            await fail.wait()
            raise StaleTerm("the fence has moved")

        leader.pipeline.body = crash_when_told
        await leader.pipeline.started.wait()
        follower = w.replica("r2")
        await follower.witness.until(Role.FOLLOWER)
        w.office.before_leaving = _hang
        began_s = w.clock.boottime_s()
        fail.set()
        await follower.pipeline.started.wait()
        assert w.clock.boottime_s() - began_s < 0.01


@in_virtual_time
@pytest.mark.parametrize("where", ["follower", "taking office", "without coordinator", "in the pause"])
async def test_a_replica_that_does_not_lead_stops_at_once(where: str) -> None:
    async with world() as w:
        if where == "follower":
            await w.leading("r0")
        if where == "taking office":
            w.office.before_taking = _hang
        actor = w.replica("r1")
        if where == "without coordinator":
            actor.coordinator.link.set_mode(LinkMode.BLOCKED)
            await actor.witness.until(Role.CANDIDATE)
        elif where == "in the pause":
            actor.pipeline.body = _crash
            await w.clock.sleep(30)
            await actor.witness.until(Role.STOOD_DOWN)
        else:
            await actor.witness.until(Role.FOLLOWER)
            await w.clock.sleep(0.5)
        began_s = w.clock.boottime_s()
        await actor.stop()
        assert w.clock.boottime_s() - began_s < 0.01
        assert actor.witness.role is Role.STOOD_DOWN


@in_virtual_time
async def test_a_replica_that_was_never_started_wants_nothing() -> None:
    async with world() as w:
        actor = w.replica("r1")
        actor.stopping.set()
        await actor.task
        assert actor.coordinator.entered == 0


@in_virtual_time
async def test_cancelling_a_replica_stops_its_pipeline_and_gives_up_the_lease() -> None:
    async with world() as w:
        leader = await w.leading()
        leader.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader.task
        assert leader.pipeline.cancelled == 1
        assert w.service.read(0) is None
        assert leader.witness.reasons == ["the replica was cancelled"]


async def _well() -> None:
    """Nothing is wrong."""


async def _hang() -> None:
    await asyncio.Event().wait()


async def _ignore_draining(term: Term, trust: Trust, draining: asyncio.Event) -> None:
    await asyncio.Event().wait()


async def _crash(term: Term, trust: Trust, draining: asyncio.Event) -> None:
    raise ZeroDivisionError("a bug in the pipeline")


async def _return(term: Term, trust: Trust, draining: asyncio.Event) -> None:
    await asyncio.sleep(1)


async def _cancel_itself(term: Term, trust: Trust, draining: asyncio.Event) -> None:
    raise asyncio.CancelledError


async def _notice_lost_trust(term: Term, trust: Trust, draining: asyncio.Event) -> None:
    await asyncio.sleep(1)
    raise TrustLost("looked at the clock")


@in_virtual_time
async def test_a_leader_that_is_asked_to_resign_drains_hands_over_and_stands_again() -> None:
    async with world() as w:
        first = await w.leading("r1")
        second = w.replica("r2")
        await w.clock.sleep(5)
        asked_s = w.clock.boottime_s()
        assert first.replica.resign()
        await second.pipeline.started.wait()
        assert w.clock.boottime_s() - asked_s < 0.1, "the successor waits for no lease"
        assert first.pipeline.drained == 1
        assert w.office.left == [(1, "stopped")]
        await first.witness.until(Role.FOLLOWER)
        assert not first.replica.resign(), "who does not lead has nothing to hand over"
        await w.clock.sleep(60)
        assert second.witness.role is Role.LEADER, "and nobody disturbs the successor"


@in_virtual_time
async def test_a_request_to_resign_does_not_outlive_its_term() -> None:
    async with world() as w:
        only = await w.leading("r1")
        assert only.replica.resign()
        await only.pipeline.ended.wait()
        await only.pipeline.started.wait()
        await w.clock.sleep(60)
        assert [term.number for term in only.pipeline.terms] == [1, 2]
