"""A leader that hears nothing from the processor: when it gives up, and when it does not."""

import asyncio
import random
from collections import deque

import pytest
from tests.support.fake_processor import FakeProcessor, Fault, Operation
from tests.support.memory_store import MemoryStore
from tests.support.pipeline_rig import (
    CUSTOMER,
    Bench,
    CountingObserver,
    a_clock_check,
    a_processor,
    a_term,
    an_attempt,
    lasting_trust,
)
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.names import StableNames
from middleman.billing.pipeline import Pipeline, PipelineLimits
from middleman.billing.rate_limit import RateLimiter
from middleman.billing.reach import FIRST_LIMIT_S, MAX_LIMIT_S, ProcessorReach
from middleman.domain.attempts import Unknown
from middleman.domain.dunning import DunningPolicy
from middleman.domain.idempotency import create_key
from middleman.domain.ids import PaymentIntentId
from middleman.ports.errors import ProcessorUnreachable
from middleman.ports.failpoints import NO_FAILPOINTS
from middleman.ports.processor import CreateIntent, Missing, NotSent

CALL_TIMEOUT_S = 10.0
FOR_EVER = 10**9


def a_reach(clock: VirtualClock, uniform: float = 0.0) -> ProcessorReach:
    reach = ProcessorReach(clock, lambda: uniform)
    reach.begin_term()
    return reach


async def term_in_silence(reach: ProcessorReach, clock: VirtualClock, *, every_s: float = 1.0) -> float:
    """How long a term lasts in which no call is answered, each lasting `every_s`."""
    reach.begin_term()
    began_s = clock.boottime_s()
    try:
        async with asyncio.timeout(2000):
            while True:
                started_s = clock.boottime_s()
                await clock.sleep(every_s)
                reach.unheard(started_s, "timeout")
    except ProcessorUnreachable:
        return clock.boottime_s() - began_s


class Story:
    """A pipeline of its own on a store in memory, which leads term after term."""

    def __init__(self, processor: FakeProcessor) -> None:
        self.processor = processor
        self.store = MemoryStore()
        self.clock = VirtualClock()
        self.terms = 0
        self.pipeline = Pipeline(
            store=self.store,
            processor=processor,
            limiter=RateLimiter(self.clock),
            policy=DunningPolicy(),
            names=StableNames(),
            limits=PipelineLimits(),
            clock=self.clock,
            uniform=random.Random(1).random,
            failpoints=NO_FAILPOINTS,
            observer=CountingObserver(),
            clock_check=a_clock_check(self.clock),
        )

    async def lead(self, for_s: float) -> float | None:
        """Lead for one term: how long it lasted when it was given up, None when it lasted to the end."""
        self.terms += 1
        draining = asyncio.Event()
        began_s = self.clock.boottime_s()
        asyncio.get_running_loop().call_later(for_s, draining.set)
        try:
            await self.pipeline(a_term(self.terms), lasting_trust(self.clock), draining)
        except ProcessorUnreachable:
            return self.clock.boottime_s() - began_s
        return None


@in_virtual_time
async def test_a_leader_whose_calls_are_never_sent_gives_up_after_about_ten_seconds() -> None:
    processor = a_processor()
    processor.fail(Operation.CREATE, Fault.NOT_SENT, times=FOR_EVER)
    story = Story(processor)
    story.store.due = deque([an_attempt("a")])
    lasted_s = await story.lead(600)
    assert lasted_s is not None
    assert FIRST_LIMIT_S <= lasted_s <= FIRST_LIMIT_S + 5.5  # the longest pause between two tries


@in_virtual_time
async def test_the_first_calls_that_a_black_hole_swallows_suffice() -> None:
    async def swallow(operation: Operation, request: object) -> None:
        await asyncio.sleep(CALL_TIMEOUT_S)

    processor = a_processor(before_call=swallow)
    processor.fail(Operation.CREATE, Fault.UNKNOWN_BEFORE, times=FOR_EVER)
    story = Story(processor)
    story.store.due = deque([an_attempt(str(number)) for number in range(5)])
    lasted_s = await story.lead(600)
    assert lasted_s == pytest.approx(CALL_TIMEOUT_S, abs=0.5)
    assert len(story.store.open) == 5, "open attempts are for the successor"


@in_virtual_time
async def test_a_single_call_that_hangs_ends_no_term() -> None:
    reach = a_reach(clock := VirtualClock())
    started_s = clock.boottime_s()
    await clock.sleep(60)
    reach.unheard(started_s, "timeout")
    reach.heard()
    started_s = clock.boottime_s()
    await clock.sleep(60)
    reach.unheard(started_s, "timeout")


@in_virtual_time
async def test_silence_counts_from_the_last_answer_on() -> None:
    """A call that was lost after others had been answered tells nothing about the time before."""
    reach = a_reach(clock := VirtualClock())
    started_s = clock.boottime_s()
    await clock.sleep(8)
    reach.heard()
    await clock.sleep(2)
    for _ in range(10):
        reach.unheard(started_s, "timeout")
    await clock.sleep(FIRST_LIMIT_S - 2)
    with pytest.raises(
        ProcessorUnreachable, match=r"nothing came back from the processor for 9\.0 s \(timeout\)"
    ):
        reach.unheard(started_s, "timeout")


@in_virtual_time
async def test_an_idle_leader_keeps_its_term_however_long() -> None:
    story = Story(a_processor())
    assert await story.lead(600) is None


ANSWERS = [
    Unknown("server_error"),
    Unknown("server_error_replayed"),
    Unknown("key_in_use"),
    Unknown("rate_limited"),
    Unknown("garbled"),
    NotSent("rate_limited"),
    NotSent("not_authorized"),
    Missing(),
]
SILENCE = [
    NotSent("no_connection"),
    NotSent("no_free_connection"),
    Unknown("timeout"),
    Unknown("connection_lost"),
]


class OneAnswer:
    """A processor that gives one answer to everything, after a second."""

    def __init__(self, answer: object) -> None:
        self._answer = answer

    async def read_intent(self, intent_id: object, **_: object) -> object:
        await asyncio.sleep(1)
        return self._answer


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_whatever_the_processor_itself_says_is_an_answer(answer: object) -> None:
    @in_virtual_time
    async def scenario() -> None:
        calls = Bench(OneAnswer(answer)).calls()
        for _ in range(60):
            assert await calls.read(PaymentIntentId("pi_1")) == answer

    scenario()


@pytest.mark.parametrize("answer", SILENCE, ids=repr)
def test_whatever_only_the_network_says_is_silence(answer: object) -> None:
    @in_virtual_time
    async def scenario() -> None:
        calls = Bench(OneAnswer(answer)).calls()
        for _ in range(8):
            assert await calls.read(PaymentIntentId("pi_1")) == answer
        with pytest.raises(ProcessorUnreachable):
            await calls.read(PaymentIntentId("pi_1"))

    scenario()


@in_virtual_time
async def test_who_drains_leaves_anyway_and_does_not_give_up() -> None:
    processor = a_processor()
    processor.fail(Operation.CREATE, Fault.NOT_SENT, times=FOR_EVER)
    reach = a_reach(clock := VirtualClock())
    bench = Bench(processor, clock=clock, reach=reach)
    calls = bench.calls()
    attempt = an_attempt()
    request = CreateIntent(create_key(attempt.invoice_id), attempt.amount, CUSTOMER, {})
    started_s = clock.boottime_s()
    await clock.sleep(100)
    reach.unheard(started_s, "timeout")

    async def drain(operation: Operation, wanted: object) -> None:
        bench.draining.set()

    processor.before_call = drain
    assert isinstance(await calls.create(request, repeat=False), NotSent)


@in_virtual_time
async def test_who_gave_up_in_vain_waits_three_times_as_long_the_next_time_up_to_a_bound() -> None:
    reach = a_reach(clock := VirtualClock())
    lasted = [await term_in_silence(reach, clock) for _ in range(6)]
    assert lasted == pytest.approx([9, 27, 81, 243, MAX_LIMIT_S, MAX_LIMIT_S], abs=1)


@in_virtual_time
async def test_longer_waits_are_spread_by_chance() -> None:
    reach = a_reach(clock := VirtualClock(), uniform=1.0)
    lasted = [await term_in_silence(reach, clock) for _ in range(3)]
    assert lasted == pytest.approx([9, 27 * 1.25, 81 * 1.25], abs=1)


@in_virtual_time
async def test_one_answer_makes_patience_short_again() -> None:
    reach = a_reach(clock := VirtualClock())
    for _ in range(3):
        await term_in_silence(reach, clock)
    reach.begin_term()
    reach.heard()
    assert await term_in_silence(reach, clock) == pytest.approx(FIRST_LIMIT_S, abs=1)


@in_virtual_time
async def test_trouble_of_long_ago_is_forgotten() -> None:
    reach = a_reach(clock := VirtualClock())
    for _ in range(3):
        await term_in_silence(reach, clock)
    clock.suspend(3601)
    assert await term_in_silence(reach, clock) == pytest.approx(FIRST_LIMIT_S, abs=1)


@in_virtual_time
async def test_calls_that_end_together_give_up_once() -> None:
    reach = a_reach(clock := VirtualClock())
    started_s = clock.boottime_s()
    await clock.sleep(FIRST_LIMIT_S + 0.1)
    reach.unheard(started_s, "timeout")
    for _ in range(20):
        with pytest.raises(ProcessorUnreachable):
            reach.unheard(started_s, "timeout")
    assert await term_in_silence(reach, clock) == pytest.approx(27, abs=1)
