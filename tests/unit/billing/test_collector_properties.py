"""Whatever the processor answers and wherever replicas die: one debt, one charge.

A charge is told as a sequence of mishaps: faults that the processor meets, and deaths of the replica before
or after any call or write. After each death a successor with the next term finds the attempt as the
ledger shows it. Hypothesis looks for a sequence that breaks a promise.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.support.fake_processor import Fault, Operation, Verdict
from tests.support.pipeline_rig import Bench, MemoryLedger, a_processor, a_term, an_attempt
from tests.support.virtual_time import in_virtual_time

from middleman.domain.attempts import Declined, RequiresAction, Succeeded
from middleman.domain.idempotency import confirm_key, create_key
from middleman.domain.intents import IntentStatus
from middleman.ports.errors import ProcessorUnreachable
from middleman.ports.store import OpenAttempt

# Tracing these simulations takes three times as long as they do, and finds no line that others miss.
pytestmark = pytest.mark.no_cover

CALLS = (Operation.CREATE, Operation.CONFIRM, Operation.READ, Operation.LIST)


class Death(BaseException):
    """The process is gone; nothing catches this, as nothing catches SIGKILL."""


@dataclass(slots=True)
class Fate:
    """Kills the replica at the steps that it counts: each call, and the moments around each write."""

    deaths: deque[int]
    passed: int = 0

    async def step(self, *_: object) -> None:
        self.passed += 1
        if self.deaths and self.passed >= self.deaths[0]:
            self.deaths.popleft()
            self.passed = 0
            raise Death


VERDICTS: list[Verdict | None] = [
    None,
    Declined("card_declined", "insufficient_funds"),
    RequiresAction(),
]
mishaps = st.lists(st.tuples(st.sampled_from(CALLS), st.sampled_from(Fault), st.integers(1, 3)), max_size=12)
deaths = st.lists(st.integers(1, 8), max_size=6)
remembered = st.sets(st.sampled_from([Operation.CREATE, Operation.CONFIRM]))


@settings(max_examples=400, deadline=None)
@given(mishaps, deaths, remembered, st.sampled_from(VERDICTS))
@example([(Operation.CONFIRM, Fault.UNKNOWN_AFTER, 1)], [5], set(), None)
@example([(Operation.LIST, Fault.UNKNOWN_BEFORE, 2)], [3], {Operation.CREATE}, None)
def test_no_sequence_of_mishaps_charges_twice_or_invents_an_outcome(
    faults: Sequence[tuple[Operation, Fault, int]],
    dying: list[int],
    remembered_500s: set[Operation],
    verdict: Verdict | None,
) -> None:
    @in_virtual_time
    async def scenario() -> None:
        processor = a_processor()
        ledger = MemoryLedger()
        fate = Fate(deque(dying))
        processor.before_call = fate.step
        ledger.before_write = ledger.after_write = fate.step
        for operation, fault, times in faults:
            processor.fail(operation, fault, times=times)
        for operation in remembered_500s:  # executed, and a 500 for ever under that key
            processor.store_500(operation)
        if verdict is not None:
            processor.decline_next(verdict)

        await live_until_settled(Bench(processor, ledger), an_attempt())

        keys = {
            operation: {c.key for c in processor.calls if c.operation is operation} for operation in CALLS
        }
        assert keys[Operation.CREATE] == {create_key(an_attempt().invoice_id)}
        assert keys[Operation.CONFIRM] == {confirm_key(an_attempt().attempt_id)}
        assert len(processor.intents) == 1
        [(_, outcome)] = ledger.settled
        [intent] = processor.intents.values()
        if verdict is None:
            assert outcome == Succeeded(intent.latest_charge_id or "")  # type: ignore[arg-type]  # None would differ
            assert intent.status is IntentStatus.SUCCEEDED
        else:
            assert type(outcome) is type(verdict)
            assert outcome.charge_id == intent.latest_charge_id
            assert processor.paid_intents() == {}

    scenario()


async def live_until_settled(first: Bench, attempt: OpenAttempt) -> None:
    """One leader after the other carries the attempt, each as it finds it."""
    bench, found = first, False
    async with asyncio.timeout(600):
        while not bench.ledger.is_settled(attempt):
            try:
                await bench.collect(attempt, found=found)
            except (Death, ProcessorUnreachable):
                attempt = replace(attempt, payment_intent_id=bench.ledger.bound.get(attempt.invoice_id))
                bench, found = replace(bench, term=a_term(bench.term.number + 1)), True


async def insist(bench: Bench, *, found: bool) -> None:
    """A leader that gives up for want of answers, and leads again."""
    while True:
        try:
            return await bench.collect(an_attempt(), found=found)
        except ProcessorUnreachable:
            found = True


@settings(max_examples=150, deadline=None)
@given(mishaps, mishaps, st.booleans())
def test_two_leaders_that_both_believe_in_themselves_pay_one_intent_once(
    mine: Sequence[tuple[Operation, Fault, int]], yours: Sequence[tuple[Operation, Fault, int]], forgets: bool
) -> None:
    """The fence is not what stops a double charge: the debt has one intent, and that succeeds once."""

    @in_virtual_time
    async def scenario() -> None:
        processor = a_processor()
        ledger = MemoryLedger()
        for operation, fault, times in (*mine, *yours):
            processor.fail(operation, fault, times=times)
        if forgets:
            # Not even the processor's memory of idempotency keys is needed once the intent is bound.
            async def forget(stage: str) -> None:
                processor.forget_keys()

            ledger.after_write = forget
        stale, current = Bench(processor, ledger, term=a_term(1)), Bench(processor, ledger, term=a_term(2))
        async with asyncio.timeout(600):
            await asyncio.gather(
                insist(stale, found=False),
                insist(current, found=True),
                return_exceptions=False,
            )
        assert len(processor.paid_intents()) == 1
        assert set(processor.paid_intents()) == set(ledger.bound.values())
        assert {type(outcome) for _, outcome in ledger.settled} == {Succeeded}
        assert len({outcome.charge_id for _, outcome in ledger.settled}) == 1

    scenario()
