"""Calls to the processor: trusted, limited, bounded, and none after draining began."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.support.fake_processor import Fault, Operation
from tests.support.pipeline_rig import CARD, CUSTOMER, Bench, a_processor, an_attempt, lasting_trust
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.calls import Draining, NoAnswer, Pauses, ProcessorCalls
from middleman.billing.parking import Answers, ParkingPolicy
from middleman.billing.rate_limit import MAX_HOLD_S, LimiterTuning, RateLimiter
from middleman.domain.attempts import Unknown
from middleman.domain.idempotency import confirm_key, create_key
from middleman.domain.ids import PaymentIntentId
from middleman.ports.errors import TrustLost
from middleman.ports.processor import ConfirmIntent, Created, CreateIntent, NotSent

INTENT = PaymentIntentId("pi_1")


def a_create(name: str = "a") -> CreateIntent:
    attempt = an_attempt(name)
    return CreateIntent(create_key(attempt.invoice_id), attempt.amount, CUSTOMER, {})


class Gate:
    """Holds every call that arrives at the fake until it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.arrived = 0

    async def __call__(self, operation: Operation, request: object) -> None:
        self.arrived += 1
        await self.open.wait()


@in_virtual_time
async def test_a_call_is_answered_and_observed_with_its_step() -> None:
    bench = Bench(a_processor())
    assert isinstance(await bench.calls().create(a_create(), repeat=False), Created)
    await bench.calls().read(INTENT)
    assert bench.observer.calls == [("create", "Created"), ("read", "Missing")]


Step = Callable[[ProcessorCalls], Awaitable[object]]
A_CONFIRM = ConfirmIntent(confirm_key(an_attempt().attempt_id), INTENT, CARD)
STEPS: dict[str, Step] = {
    "create": lambda calls: calls.create(a_create(), repeat=False),
    "confirm": lambda calls: calls.confirm(A_CONFIRM, repeat=False),
    "read": lambda calls: calls.read(INTENT),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_no_call_starts_without_trust(step: Step) -> None:
    @in_virtual_time
    async def scenario() -> None:
        processor = a_processor()
        bench = Bench(processor)
        bench.trust = trust = lasting_trust(bench.clock)
        trust.end("the lease is gone")
        with pytest.raises(TrustLost, match="the lease is gone"):
            await step(bench.calls())
        assert processor.calls == []

    scenario()


@in_virtual_time
async def test_trust_that_ends_while_a_call_waits_for_its_slot_prevents_it() -> None:
    gate = Gate()
    processor = a_processor(before_call=gate)
    bench = Bench(processor, concurrency=1)
    trust = lasting_trust(bench.clock)
    bench.trust = trust
    calls = bench.calls()
    first = asyncio.create_task(calls.create(a_create("a"), repeat=False))
    second = asyncio.create_task(calls.create(a_create("b"), repeat=False))
    await asyncio.sleep(0.01)
    assert gate.arrived == 1, "one slot, one call"
    trust.end("the lease is gone")
    gate.open.set()
    # The first was inside the processor already; its guard, right before the request leaves, spoke.
    for task in (first, second):
        with pytest.raises(TrustLost):
            await task
    assert gate.arrived == 1
    assert processor.calls == []


@in_virtual_time
async def test_no_more_calls_than_slots_are_out_at_once() -> None:
    gate = Gate()
    bench = Bench(a_processor(before_call=gate), concurrency=3)
    calls = bench.calls()
    tasks = [asyncio.create_task(calls.create(a_create(f"n{n}"), repeat=False)) for n in range(10)]
    await asyncio.sleep(0.01)
    assert gate.arrived == 3
    gate.open.set()
    await asyncio.gather(*tasks)
    assert gate.arrived == 10


@in_virtual_time
async def test_draining_lets_a_call_in_flight_end_and_starts_no_other() -> None:
    gate = Gate()
    bench = Bench(a_processor(before_call=gate), concurrency=1)
    calls = bench.calls()
    out = asyncio.create_task(calls.create(a_create("a"), repeat=False))
    waits = asyncio.create_task(calls.create(a_create("b"), repeat=False))
    await asyncio.sleep(0.01)
    bench.draining.set()
    gate.open.set()
    assert isinstance(await out, Created)
    with pytest.raises(Draining):
        await waits
    with pytest.raises(Draining):
        await calls.read(INTENT)
    assert gate.arrived == 1


@in_virtual_time
async def test_draining_ends_the_wait_for_the_rate_limit_at_once() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, ceiling_per_s=0.01)
    bench = Bench(a_processor(), clock=clock, limiter=limiter)
    calls = bench.calls()
    await calls.read(INTENT)  # uses up the only token for the next hundred seconds
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    waits = asyncio.create_task(calls.read(INTENT))
    await asyncio.sleep(1)
    bench.draining.set()
    with pytest.raises(Draining):
        await waits
    assert loop.time() - started_s == pytest.approx(1, abs=0.01)


@in_virtual_time
async def test_the_rate_limit_holds_for_each_step_on_its_own() -> None:
    clock = VirtualClock()
    bench = Bench(a_processor(), clock=clock, limiter=RateLimiter(clock, ceiling_per_s=10))
    calls = bench.calls()
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await asyncio.gather(*(calls.read(INTENT) for _ in range(21)), calls.create(a_create(), repeat=False))
    assert loop.time() - started_s == pytest.approx(2, abs=0.2)


@pytest.mark.parametrize("repeat", [False, True], ids=["NotSent", "Unknown"])
def test_a_429_slows_its_endpoint_down_and_no_other(repeat: bool) -> None:
    @in_virtual_time
    async def scenario() -> None:
        clock = VirtualClock()
        limiter = RateLimiter(clock, 100, LimiterTuning(recovery_per_s=0.01))
        processor = a_processor()
        processor.fail(Operation.CREATE, Fault.RATE_LIMITED)
        calls = Bench(processor, clock=clock, limiter=limiter).calls()
        answer = await calls.create(a_create(), repeat=repeat)
        assert isinstance(answer, Unknown if repeat else NotSent)
        assert limiter.rate_per_s("create") == pytest.approx(50)
        assert limiter.rate_per_s("confirm") == 100

    scenario()


@pytest.mark.parametrize("repeat", [False, True], ids=["NotSent", "Unknown"])
def test_a_429_for_one_object_slows_no_endpoint_down(repeat: bool) -> None:
    @in_virtual_time
    async def scenario() -> None:
        clock = VirtualClock()
        limiter = RateLimiter(clock, 100, account_per_s=100)
        processor = a_processor()
        processor.fail(Operation.CREATE, Fault.OBJECT_BUSY, times=50)
        calls = Bench(processor, clock=clock, limiter=limiter).calls()
        for number in range(50):
            await calls.create(a_create(str(number)), repeat=repeat)
        assert limiter.rate_per_s("create") == 100

    scenario()


@pytest.mark.parametrize("repeat", [False, True], ids=["NotSent", "Unknown"])
def test_a_429_for_the_account_slows_every_endpoint_down(repeat: bool) -> None:
    @in_virtual_time
    async def scenario() -> None:
        clock = VirtualClock()
        limiter = RateLimiter(clock, 100, LimiterTuning(recovery_per_s=0.01), account_per_s=100)
        processor = a_processor()
        processor.fail(Operation.CREATE, Fault.ACCOUNT_RATE_LIMITED)
        calls = Bench(processor, clock=clock, limiter=limiter).calls()
        await calls.create(a_create(), repeat=repeat)
        assert limiter.rate_per_s("create") == limiter.rate_per_s("confirm") == pytest.approx(50)

    scenario()


@in_virtual_time
async def test_a_429_that_names_a_time_holds_its_endpoint_back_for_that_long() -> None:
    clock = VirtualClock()
    processor = a_processor()
    processor.fail(Operation.READ, Fault.RATE_LIMITED, retry_after_s=7)
    calls = Bench(processor, clock=clock, limiter=RateLimiter(clock, 100)).calls()
    loop = asyncio.get_running_loop()
    await calls.read(INTENT)
    started_s = loop.time()
    await calls.read(INTENT)
    assert loop.time() - started_s >= 7


@in_virtual_time
async def test_other_faults_do_not_slow_anything_down() -> None:
    clock = VirtualClock()
    limiter = RateLimiter(clock, 100)
    processor = a_processor()
    for fault in (Fault.NOT_SENT, Fault.UNKNOWN_BEFORE, Fault.UNKNOWN_AFTER):
        processor.fail(Operation.READ, fault)
    calls = Bench(processor, clock=clock, limiter=limiter).calls()
    for _ in range(3):
        await calls.read(INTENT)
    assert limiter.rate_per_s("read") == 100


SILENCE = Unknown("timeout")


def pauses(
    draining: asyncio.Event,
    paused: list[str],
    uniform: float = 0.0,
    *,
    answers: Answers | None = None,
    is_full: bool = False,
    was_parked: bool = False,
) -> Pauses:
    clock = VirtualClock()
    return Pauses(
        draining,
        clock,
        lambda: uniform,
        0.1,
        1.0,
        answers or Answers(clock, ParkingPolicy()),
        ParkingPolicy(),
        on_pause=lambda: paused.append("paused"),
        is_full=lambda: is_full,
        was_parked=was_parked,
    )


@in_virtual_time
async def test_pauses_double_up_to_a_bound_and_each_is_announced() -> None:
    told: list[str] = []
    loop = asyncio.get_running_loop()
    waits = pauses(asyncio.Event(), told, uniform=1.0)
    lasted_s = []
    for _ in range(6):
        started_s = loop.time()
        await waits.wait("confirm", SILENCE)
        lasted_s.append(loop.time() - started_s)
    assert lasted_s == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert told == ["paused"] * 6


@in_virtual_time
async def test_chance_shortens_a_pause_by_up_to_a_half() -> None:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await pauses(asyncio.Event(), [], uniform=0.0).wait("confirm", SILENCE)
    assert loop.time() - started_s == pytest.approx(0.05)


@in_virtual_time
async def test_a_pause_is_never_shorter_than_the_processor_asked_for() -> None:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await pauses(asyncio.Event(), []).wait("confirm", NotSent("rate_limited", 5))
    assert loop.time() - started_s == pytest.approx(5)


@in_virtual_time
async def test_a_pause_has_a_bound_whatever_the_processor_asked_for() -> None:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await pauses(asyncio.Event(), []).wait("confirm", NotSent("rate_limited", 86_400))
    assert loop.time() - started_s == pytest.approx(MAX_HOLD_S)


@in_virtual_time
async def test_draining_ends_a_pause_at_once() -> None:
    draining = asyncio.Event()
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    waits = asyncio.create_task(pauses(draining, []).wait("confirm", NotSent("rate_limited", 60)))
    await asyncio.sleep(1)
    draining.set()
    with pytest.raises(Draining):
        await waits
    assert loop.time() - started_s == pytest.approx(1)


@in_virtual_time
async def test_a_request_without_an_answer_leaves_its_slot_while_others_are_answered() -> None:
    answers = Answers(VirtualClock(), ParkingPolicy())
    waits = pauses(asyncio.Event(), [], answers=answers)
    for _ in range(4):
        answers.answered("confirm")
        await waits.wait("confirm", SILENCE)
    answers.answered("confirm")
    with pytest.raises(NoAnswer) as parked:
        await waits.wait("confirm", SILENCE)
    assert parked.value.is_its_own


@in_virtual_time
async def test_while_nobody_is_answered_every_request_keeps_its_slot() -> None:
    answers = Answers(VirtualClock(), ParkingPolicy())
    answers.answered("confirm")
    await asyncio.sleep(1)
    waits = pauses(asyncio.Event(), [], answers=answers)
    for _ in range(50):
        answers.answered("read")
        await waits.wait("confirm", SILENCE)


@in_virtual_time
async def test_a_rate_limit_is_no_trouble_of_one_request() -> None:
    answers = Answers(VirtualClock(), ParkingPolicy())
    waits = pauses(asyncio.Event(), [], answers=answers, is_full=True)
    for _ in range(50):
        answers.answered("confirm")
        await waits.wait("confirm", Unknown("rate_limited"))


@in_virtual_time
async def test_a_full_leader_parks_one_request_a_second_although_nobody_is_answered() -> None:
    answers = Answers(VirtualClock(), ParkingPolicy())
    began_s = asyncio.get_running_loop().time()

    async def until_parked() -> bool:
        waits = pauses(asyncio.Event(), [], answers=answers, is_full=True)
        while True:
            try:
                await waits.wait("confirm", SILENCE)
            except NoAnswer as parked:
                return parked.is_its_own

    assert await asyncio.gather(*(until_parked() for _ in range(10))) == [False] * 10
    assert asyncio.get_running_loop().time() - began_s >= 9


@in_virtual_time
async def test_a_parked_request_gets_one_try() -> None:
    with pytest.raises(NoAnswer) as parked:
        await pauses(asyncio.Event(), [], was_parked=True).wait("read", SILENCE)
    assert not parked.value.is_its_own


@in_virtual_time
async def test_two_slow_tries_are_enough_to_leave_the_slot() -> None:
    answers = Answers(VirtualClock(), ParkingPolicy())
    waits = pauses(asyncio.Event(), [], answers=answers)
    await asyncio.sleep(10)
    await waits.wait("confirm", SILENCE)
    await asyncio.sleep(10)
    answers.answered("confirm")
    with pytest.raises(NoAnswer):
        await waits.wait("confirm", SILENCE)
