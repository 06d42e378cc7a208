"""Seeded disorder under virtual time: three replicas, cut links, suspends, a sick database.

Two things are watched at every call to the processor that the pipelines pretend to make. As long as
leases end by expiry or resignation, no two replicas trust themselves at the same moment. When somebody
deletes the key or revokes the lease under a leader that is cut off, they may; then the fence alone
decides, and nothing is settled under a term after a later one has settled.
"""

import asyncio
import random

import pytest
from tests.support.fake_coordinator import LinkMode
from tests.support.replica_world import Actor, World, world
from tests.support.virtual_time import in_virtual_time

from middleman.leadership.timing import LeaseTiming
from middleman.ports.errors import OfficeUnavailable
from middleman.ports.term import Term
from middleman.ports.trust import Trust

# Tracing these simulations takes three times as long as they do, and finds no line that others miss.
pytestmark = pytest.mark.no_cover

DURATION_S = 300.0
LAWFUL = ("block", "deafen", "open", "open", "suspend", "nap")


class Processor:
    """Records who trusted itself whenever it was called, and which terms settled what."""

    def __init__(self, w: World) -> None:
        self._world = w
        self.trusting: list[tuple[str, ...]] = []
        self.settled_under: list[int] = []

    async def lead(self, term: Term, trust: Trust, draining: asyncio.Event) -> None:
        while not draining.is_set():
            trust.require()
            self.trusting.append(self._who_trusts_itself())
            await asyncio.sleep(0.05)
            self._world.office.require_current(term)
            self.settled_under.append(term.number)

    def _who_trusts_itself(self) -> tuple[str, ...]:
        return tuple(
            actor.name
            for actor in self._world.actors
            if actor.pipeline.started.is_set() and actor.pipeline.trust is not None
            if actor.pipeline.trust.remaining_s() > 0
        )


async def _disorder(w: World, chance: random.Random, faults: tuple[str, ...]) -> None:
    async def fail_sometimes() -> None:
        await asyncio.sleep(chance.choice([0.001, 0.001, 0.5, 3.0]))
        if chance.random() < 0.2:
            raise OfficeUnavailable("the database restarts")

    w.office.before_taking = fail_sometimes
    while True:
        await asyncio.sleep(chance.uniform(0.1, 6.0))
        victim: Actor = chance.choice(w.actors)
        match chance.choice(faults):
            case "block":
                victim.coordinator.link.set_mode(LinkMode.BLOCKED)
            case "deafen":
                victim.coordinator.link.set_mode(LinkMode.DEAF)
            case "open":
                for actor in w.actors:
                    actor.coordinator.link.set_mode(LinkMode.OPEN)
            case "suspend":
                w.clock.suspend(chance.uniform(2.0, 10.0))
            case "nap":
                w.clock.suspend(chance.uniform(0.1, 2.0))
            case "delete" if w.service.read(0) is not None:
                w.service.delete_key(0)


async def _live_through(w: World, seed: int, faults: tuple[str, ...]) -> Processor:
    processor = Processor(w)
    for name in ("r1", "r2", "r3"):
        w.replica(name).pipeline.body = processor.lead
    disorder = asyncio.create_task(_disorder(w, random.Random(seed), faults))
    await asyncio.sleep(DURATION_S)
    disorder.cancel()
    assert len(set(processor.settled_under)) >= 5  # the disorder did change leaders

    for actor in w.actors:
        actor.coordinator.link.set_mode(LinkMode.OPEN)
    settled = len(processor.settled_under)
    await asyncio.sleep(15)
    assert len(processor.settled_under) > settled  # when the disorder ends, somebody leads
    assert all(not actor.task.done() for actor in w.actors)
    return processor


@pytest.mark.parametrize("seed", range(8))
@in_virtual_time
async def test_no_two_replicas_trust_themselves_at_once(seed: int) -> None:
    async with world() as w:
        processor = await _live_through(w, seed, LAWFUL)
        assert max(map(len, processor.trusting)) == 1


@pytest.mark.parametrize("seed", range(8))
@in_virtual_time
async def test_with_keys_deleted_under_cut_off_leaders_no_earlier_term_settles_after_a_later_one(
    seed: int,
) -> None:
    async with world() as w:
        processor = await _live_through(w, seed, (*LAWFUL, "delete", "delete"))
        assert processor.settled_under == sorted(processor.settled_under)


def test_the_watch_on_trust_can_say_no() -> None:
    """Negative control: trust that outlives its lease is caught by at least one of the same seeds."""
    most_at_once = 0

    @in_virtual_time
    async def live_with_too_much_trust(seed: int) -> None:
        nonlocal most_at_once
        async with world(lease=LeaseTiming(margin_s=-0.5)) as w:
            processor = await _live_through(w, seed, LAWFUL)
            most_at_once = max(most_at_once, *map(len, processor.trusting))

    for seed in range(8):
        if most_at_once < 2:
            live_with_too_much_trust(seed)
    assert most_at_once >= 2
