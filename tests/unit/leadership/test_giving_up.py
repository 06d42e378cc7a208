"""Leaders that hear nothing from the processor, under virtual time: who leads next, and how often that changes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.replica_world import LIFE, Actor, World, world
from tests.support.virtual_time import in_virtual_time

from middleman.billing.reach import FIRST_LIMIT_S, ProcessorReach
from middleman.leadership.observer import Role
from middleman.ports.term import Term
from middleman.ports.trust import Trust

# Tracing these simulations takes three times as long as they do, and finds no line that others miss.
pytestmark = pytest.mark.no_cover

CALL_S = 5.0


class Processor:
    """Answers whoever is not cut off from it."""

    def __init__(self, *cut_off: str) -> None:
        self.cut_off = set(cut_off)

    def serve(self, w: World, *actors: Actor) -> None:
        """Have each replica's pipeline call it all the time."""
        for actor in actors:
            actor.pipeline.body = self._body(w, actor)

    def _body(self, w: World, actor: Actor) -> Callable[[Term, Trust, asyncio.Event], Awaitable[None]]:
        reach = ProcessorReach(w.clock, lambda: 0.5)

        async def lead(term: Term, trust: Trust, draining: asyncio.Event) -> None:
            reach.begin_term()
            while not draining.is_set():
                started_s = w.clock.boottime_s()
                await w.clock.sleep(CALL_S)
                if actor.name in self.cut_off:
                    reach.unheard(started_s, "timeout")
                else:
                    reach.heard()

        return lead


@in_virtual_time
async def test_another_replica_leads_at_once_and_the_reason_is_told() -> None:
    async with world() as w:
        processor = Processor("r1")
        first = w.replica("r1")
        processor.serve(w, first)
        await first.pipeline.started.wait()
        second = w.replica("r2")
        processor.serve(w, second)
        began_s = w.clock.boottime_s()
        await second.pipeline.started.wait()
        assert w.clock.boottime_s() - began_s < FIRST_LIMIT_S + CALL_S + 0.5
        [reason] = first.witness.reasons
        assert reason.startswith("given up: nothing came back from the processor")
        assert w.office.left == [(1, reason)]
        await w.clock.sleep(600)
        assert second.witness.role is Role.LEADER
        assert first.witness.role is Role.FOLLOWER
        assert w.office.term_number == 2


@in_virtual_time
async def test_who_gave_up_lets_others_go_first() -> None:
    """Also those that need a while, which would otherwise find it elected again."""
    async with world() as w:
        processor = Processor("r1")
        first = w.replica("r1")
        processor.serve(w, first)
        await first.witness.until(Role.LEADER)
        await first.witness.until(Role.STOOD_DOWN)
        stood_down_s = w.clock.boottime_s()
        await first.witness.until(Role.CANDIDATE)
        waited_s = w.clock.boottime_s() - stood_down_s
        assert LIFE.backoff_max_s / 2 <= waited_s <= LIFE.backoff_max_s + 0.5


@pytest.mark.parametrize(("replicas", "at_most"), [(1, 9), (3, 14)])
def test_a_processor_that_is_away_for_everybody_costs_few_terms(replicas: int, at_most: int) -> None:
    @in_virtual_time
    async def scenario() -> None:
        async with world() as w:
            names = [f"r{number}" for number in range(replicas)]
            processor = Processor(*names)
            actors = [w.replica(name) for name in names]
            processor.serve(w, *actors)
            await w.clock.sleep(60)
            assert w.office.term_number <= replicas + 2, "each tries once, soon"
            await w.clock.sleep(1440)
            assert w.office.term_number <= at_most, "and then seldom"
            processor.cut_off.clear()
            before = w.office.term_number
            await w.clock.sleep(60)
            assert w.office.term_number <= before + 1, "who leads when it is back goes on"
            assert sorted(actor.witness.role or "" for actor in actors) == [
                *[Role.FOLLOWER] * (replicas - 1),
                Role.LEADER,
            ]

    scenario()
