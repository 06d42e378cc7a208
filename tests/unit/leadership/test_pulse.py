"""The pulse: what counts as evidence that the leader is dead, and what does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.fake_coordinator import FakeCoordinator, FakeService, LinkMode
from tests.support.replica_world import LEASE, Witness
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.leadership.pulse import CandidateName, PulseWatch
from middleman.ports.coordinator import LeaderRecord
from middleman.ports.pulse import Beat, NoPulse

ADDRESS = "10.0.0.1:9000"
LEADER = CandidateName("replica-1#aa", ADDRESS)


class FakeBeat:
    """A connection that a test may break."""

    def __init__(self) -> None:
        self.end = asyncio.Event()

    async def broken(self) -> str:
        """See the port."""
        await self.end.wait()
        return "end of file"


class FakePulse:
    """Who answers at which address. None: refused. A silent address swallows whatever is sent to it."""

    def __init__(self) -> None:
        self.answering: dict[str, str | None] = {ADDRESS: LEADER.holder}
        self.silent: set[str] = set()
        self.beats: list[FakeBeat] = []
        self.felt = 0
        self.lasting = False

    @asynccontextmanager
    async def feel(self, address: str, holder: str) -> AsyncIterator[Beat]:
        """See the port."""
        if self.lasting:
            raise NoPulse("no address", definite=False, lasting=True)
        if address in self.silent:
            raise NoPulse("no answer", definite=False)
        answering = self.answering.get(address)
        if answering != holder:
            raise NoPulse("refused or somebody else", definite=True)
        self.felt += 1
        beat = FakeBeat()
        self.beats.append(beat)
        yield beat

    def cut(self) -> None:
        """Every open connection breaks."""
        for beat in self.beats:
            beat.end.set()


class Room:
    """A leader with a lease that lasts, and one follower who watches it."""

    def __init__(self, candidate: CandidateName = LEADER) -> None:
        self.clock = VirtualClock()
        self.service = FakeService(self.clock)
        self.lease_id, _ = self.service.grant(3600)
        self.service.claim(0, str(candidate), self.lease_id)
        self.coordinator = FakeCoordinator(self.service, self.clock, LEASE)
        self.pulse = FakePulse()
        self.witness = Witness()
        self.watch = PulseWatch(
            CandidateName("replica-2#bb", "10.0.0.2:9000"),
            0,
            self.coordinator,
            self.pulse,
            self.clock,
            lambda: 1.0,
            self.witness,
        )

    @property
    def leader(self) -> LeaderRecord | None:
        return self.service.read(0)

    @property
    def revocations(self) -> int:
        return [what for what, _ in self.witness.seen].count("revoked")

    @property
    def missing(self) -> list[object]:
        return [detail for what, detail in self.witness.seen if what == "missing"]


@asynccontextmanager
async def watching(room: Room) -> AsyncIterator[None]:
    task = asyncio.create_task(room.watch.run())
    await asyncio.sleep(1)
    try:
        yield
        await asyncio.sleep(5)
        assert not task.done()
    finally:
        task.cancel()


@in_virtual_time
async def test_a_leader_that_died_loses_its_lease_at_once() -> None:
    room = Room()
    async with watching(room):
        assert room.pulse.felt == 1
        room.pulse.answering[ADDRESS] = None
        room.pulse.cut()
        await asyncio.sleep(0.01)
        assert room.leader is None
    assert room.revocations == 1


@in_virtual_time
async def test_a_leader_that_came_back_as_another_process_loses_its_lease() -> None:
    room = Room()
    async with watching(room):
        room.pulse.answering[ADDRESS] = "replica-1#cc"
        room.pulse.cut()
    assert room.leader is None


@in_virtual_time
async def test_a_cut_connection_to_a_leader_that_still_answers_changes_nothing() -> None:
    room = Room()
    async with watching(room):
        for _ in range(3):
            room.pulse.cut()
            await asyncio.sleep(1)
    assert room.leader is not None
    assert room.revocations == 0
    assert room.pulse.felt > 3, "and its pulse is felt again"


@in_virtual_time
async def test_silence_is_no_evidence() -> None:
    room = Room()
    async with watching(room):
        await asyncio.sleep(600)  # frozen: the connection stands and nothing comes
        assert room.leader is not None
        room.pulse.silent.add(ADDRESS)  # cut off: the connection broke, and nobody answers or refuses
        room.pulse.cut()
    assert room.leader is not None
    assert room.revocations == 0


@in_virtual_time
async def test_a_leader_that_still_takes_connections_while_it_dies_is_asked_again_at_once() -> None:
    room = Room()
    async with watching(room):
        room.pulse.silent.add(ADDRESS)  # taken by a listener that is about to be closed, and reset
        room.pulse.cut()
        await asyncio.sleep(0.03)
        assert room.leader is not None
        room.pulse.silent.clear()
        room.pulse.answering[ADDRESS] = None
        await asyncio.sleep(0.1)
        assert room.leader is None


@in_virtual_time
async def test_a_leader_whose_pulse_was_never_felt_is_left_alone() -> None:
    """Its address may be wrong; that must not cost anybody the office."""
    room = Room()
    room.pulse.answering[ADDRESS] = None
    async with watching(room):
        await asyncio.sleep(60)
    assert room.leader is not None


@in_virtual_time
async def test_a_pulse_that_stays_away_is_reported_once_and_its_return_as_well() -> None:
    room = Room()
    room.pulse.answering[ADDRESS] = None
    async with watching(room):
        await asyncio.sleep(8)
        assert room.missing == []
        await asyncio.sleep(60)
        assert room.missing == [True]
        room.pulse.answering[ADDRESS] = LEADER.holder
        await asyncio.sleep(1)
        assert room.missing == [True, False]


@in_virtual_time
async def test_an_address_that_no_try_can_reach_is_reported_at_once() -> None:
    room = Room()
    room.pulse.lasting = True
    async with watching(room):
        assert room.missing == [True]


@in_virtual_time
async def test_a_leader_that_dies_before_it_was_felt_is_not_reported() -> None:
    room = Room()
    room.pulse.answering[ADDRESS] = None
    async with watching(room):
        await asyncio.sleep(3)
        room.service.revoke(room.lease_id)
        successor, _ = room.service.grant(3600)
        room.service.claim(0, str(room.watch.me), successor)  # we lead
        await asyncio.sleep(60)
    assert room.missing == []


@pytest.mark.parametrize(
    "candidate", [CandidateName("replica-1#aa", ""), CandidateName("replica-2#bb", "10.0.0.2:9000")]
)
def test_a_leader_without_an_address_and_oneself_are_not_watched(candidate: CandidateName) -> None:
    @in_virtual_time
    async def scenario() -> None:
        room = Room(candidate)
        async with watching(room):
            await asyncio.sleep(60)
        assert room.pulse.felt == 0

    scenario()


@in_virtual_time
async def test_a_leader_that_resigned_before_it_went_is_not_suspected() -> None:
    room = Room()
    async with watching(room):
        room.service.revoke(room.lease_id)
        successor, _ = room.service.grant(3600)
        room.service.claim(0, "replica-3#dd", successor)
        room.pulse.answering[ADDRESS] = None
        room.pulse.cut()
    assert room.leader is not None
    assert room.leader.lease_id == successor
    assert room.revocations == 0


@in_virtual_time
async def test_a_new_leader_is_watched_in_the_place_of_the_old_one() -> None:
    room = Room()
    async with watching(room):
        room.service.revoke(room.lease_id)
        lease_id, _ = room.service.grant(3600)
        room.service.claim(0, "replica-3#dd@10.0.0.3:9000", lease_id)
        room.pulse.answering["10.0.0.3:9000"] = "replica-3#dd"
        await asyncio.sleep(1)
        assert room.pulse.felt == 2
        room.pulse.answering["10.0.0.3:9000"] = None
        room.pulse.beats[-1].end.set()
    assert room.leader is None


@in_virtual_time
async def test_a_coordinator_that_is_away_is_waited_out() -> None:
    room = Room()
    async with watching(room):
        room.coordinator.link.set_mode(LinkMode.BLOCKED)
        room.pulse.answering[ADDRESS] = None
        room.pulse.cut()
        await asyncio.sleep(10)
    assert room.leader is not None, "nobody could revoke it, so it is left to its lease"


def test_a_candidates_name_survives_the_election_key() -> None:
    for name in (LEADER, CandidateName("replica-1#aa", "")):
        assert CandidateName.parse(str(name)) == name
