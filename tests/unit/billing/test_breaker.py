"""When the leader stops asking a processor that refuses us, and when it asks again."""

import asyncio
from collections.abc import MutableMapping
from itertools import pairwise
from typing import Any

import pytest
from tests.support.fake_processor import Operation
from tests.support.pipeline_rig import Bench, CountingObserver, MemoryLedger, a_processor, an_attempt
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.breaker import Breaker, BreakerTuning, Go, Wait
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.idempotency import create_key
from middleman.domain.ids import ChargeId, PaymentIntentId
from middleman.ports.processor import PAUSED, Created, CreateIntent, NotSent, OperatorFault, Refused

RESTRICTED = OperatorFault("invalid_request_error", "Your account cannot currently make live charges.")
REMEMBERED = OperatorFault("invalid_request_error", "the same", replayed=True)
MISSING = Refused("resource_missing", "No such customer", "customer")
PAID = Succeeded(ChargeId("ch_1"))
TUNING = BreakerTuning()


class SetClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def boottime_s(self) -> float:
        return self.now_s

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError("the breaker never sleeps")


class Desk:
    def __init__(self) -> None:
        self.clock = SetClock()
        self.observer = CountingObserver()
        self.breaker = Breaker(self.clock, self.observer)
        self._named = 0

    def call(self, answer: object, subject: str = "", step: str = "confirm") -> Go | Wait:
        """One call, about a subject of its own unless one is given."""
        self._named += 1
        go = self.breaker.admit(step)
        if isinstance(go, Go):
            self.breaker.answered(step, subject or f"pi_{self._named}", answer, go)
        return go

    def opened(self, step: str = "confirm") -> "Desk":
        for _ in range(TUNING.faults):
            assert self.call(RESTRICTED, step=step) == Go()
        assert self.breaker.is_open
        return self

    def until_probe(self) -> None:
        go = self.breaker.admit("confirm")
        assert isinstance(go, Wait)
        self.clock.now_s += go.for_s


def test_a_few_faults_open_nothing_and_one_more_does(logs: list[MutableMapping[str, Any]]) -> None:
    desk = Desk()
    for _ in range(TUNING.faults - 1):
        desk.call(RESTRICTED)
    assert not desk.breaker.is_open
    desk.call(RESTRICTED)
    assert desk.breaker.is_open
    assert desk.observer.breakers == {"create": False, "confirm": True}
    assert [entry["event"] for entry in logs] == ["processor.refuses_us", "breaker.opened"]


def test_one_odd_customer_who_is_refused_all_day_opens_nothing() -> None:
    desk = Desk()
    for _ in range(10_000):
        desk.call(RESTRICTED, subject="pi_odd")
        desk.clock.now_s += 5.0
    assert not desk.breaker.is_open
    assert len(desk.observer.faults) == 10_000, "each of them is counted all the same"


def test_odd_customers_among_many_good_ones_open_nothing() -> None:
    desk = Desk()
    for number in range(1000):
        desk.call(PAID if number % 3 else RESTRICTED)
    assert not desk.breaker.is_open


def test_faults_far_apart_open_nothing() -> None:
    desk = Desk()
    for _ in range(100):
        desk.call(RESTRICTED)
        desk.clock.now_s += TUNING.window_s / (TUNING.faults - 2)
    assert not desk.breaker.is_open


def test_a_jump_after_hours_of_success_opens_within_the_latest_answers() -> None:
    desk = Desk()
    for _ in range(100_000):
        desk.call(PAID)
    calls = 0
    while not desk.breaker.is_open:
        desk.call(RESTRICTED)
        calls += 1
    assert calls <= TUNING.answers


@pytest.mark.parametrize(
    "answer", [REMEMBERED, Unknown("timeout"), NotSent("rate_limited"), Refused("x", "y", replayed=True)]
)
def test_an_answer_that_says_nothing_about_now_is_no_evidence(answer: object) -> None:
    desk = Desk()
    for _ in range(1000):
        desk.call(answer)
    assert not desk.breaker.is_open


def test_a_key_of_another_account_makes_every_customer_missing_and_opens() -> None:
    desk = Desk()
    for _ in range(TUNING.refusals - 1):
        desk.call(MISSING, step="create")
    assert not desk.breaker.is_open
    desk.call(MISSING, step="create")
    assert desk.breaker.is_open


def test_customers_who_are_missing_among_others_open_nothing() -> None:
    desk = Desk()
    for number in range(1000):
        desk.call(Created(PaymentIntentId("pi_1")) if number % 5 == 0 else MISSING, step="create")
    assert not desk.breaker.is_open


def test_while_it_is_open_one_probe_goes_now_and_then_and_ever_more_rarely() -> None:
    desk = Desk().opened()
    began_s, probes_s = desk.clock.now_s, []
    while desk.clock.now_s < began_s + 600:
        if isinstance(desk.call(RESTRICTED), Go):
            probes_s.append(desk.clock.now_s - began_s)
        desk.clock.now_s += 0.5
    pauses_s = [round(later - earlier) for earlier, later in pairwise(probes_s)]
    assert probes_s[0] == TUNING.probe_first_s
    assert pauses_s[:4] == [10, 20, 40, 60]
    assert set(pauses_s[4:]) == {60}


@pytest.mark.parametrize("answer", [PAID, Declined("card_declined"), RequiresAction()])
def test_a_probe_that_is_answered_normally_closes_it(
    answer: object, logs: list[MutableMapping[str, Any]]
) -> None:
    desk = Desk().opened()
    desk.until_probe()
    assert desk.call(answer) == Go(probe=True)
    assert not desk.breaker.is_open
    assert desk.observer.breakers["confirm"] is False
    assert desk.call(PAID) == Go()
    assert logs[-1]["event"] == "breaker.closed"


@pytest.mark.parametrize("answer", [REMEMBERED, Unknown("timeout"), NotSent("no_connection")])
def test_a_probe_that_says_nothing_about_now_is_followed_by_another_at_once(answer: object) -> None:
    desk = Desk().opened()
    desk.until_probe()
    for _ in range(100):
        assert desk.call(answer) == Go(probe=True), "a row of them holds the real probe up for no time"
    desk.call(PAID)
    assert not desk.breaker.is_open


def test_probes_go_one_after_another_and_never_side_by_side() -> None:
    desk = Desk().opened()
    desk.until_probe()
    first = desk.breaker.admit("confirm")
    assert isinstance(first, Go)
    assert isinstance(desk.breaker.admit("confirm"), Wait)
    desk.breaker.answered("confirm", "pi_first", REMEMBERED, first)
    assert desk.breaker.admit("confirm") == Go(probe=True)


def test_a_payers_refusal_decides_nothing_where_the_account_was_refused() -> None:
    desk = Desk().opened()
    desk.until_probe()
    desk.call(MISSING)
    assert desk.breaker.is_open
    assert desk.breaker.admit("confirm") == Wait(TUNING.probe_again_s)


def test_with_the_key_of_another_account_payers_are_refused_ever_more_rarely() -> None:
    desk = Desk()
    for _ in range(TUNING.refusals):
        desk.call(MISSING)
    assert desk.breaker.is_open
    refused = 0
    for _ in range(600):
        refused += isinstance(desk.call(MISSING), Go)
        desk.clock.now_s += 1.0
    assert refused <= 13, "each of them is a decline that dunning tries again tomorrow"


def test_a_probe_whose_answer_never_comes_is_followed_by_another() -> None:
    desk = Desk().opened()
    desk.until_probe()
    assert desk.breaker.admit("confirm") == Go(probe=True)
    desk.until_probe()
    assert desk.breaker.admit("confirm") == Go(probe=True)


def test_what_was_sent_before_it_opened_does_not_close_it() -> None:
    desk = Desk()
    early = desk.breaker.admit("confirm")
    assert isinstance(early, Go)
    desk.opened()
    desk.breaker.answered("confirm", "pi_early", PAID, early)
    assert desk.breaker.is_open


def test_each_step_has_a_circuit_of_its_own_and_reads_have_none() -> None:
    desk = Desk().opened("confirm")
    assert desk.breaker.admit("create") == Go()
    assert desk.breaker.admit("read") == Go()
    assert desk.breaker.admit("list") == Go()
    assert isinstance(desk.breaker.admit("confirm"), Wait)


def test_claims_pause_and_one_is_made_where_no_open_attempt_takes_the_probe() -> None:
    desk = Desk()
    assert desk.breaker.admit_claims(500) == 500
    desk.opened()
    assert desk.breaker.admit_claims(500) == 0
    desk.until_probe()
    assert desk.breaker.admit_claims(500) == 0, "an open attempt has the first right"
    desk.clock.now_s += TUNING.claim_after_s
    assert desk.breaker.admit_claims(500) == 1
    assert desk.breaker.admit_claims(500) == 0, "one is enough, until it has had its time"
    desk.call(PAID)
    assert desk.breaker.admit_claims(500) == 500


def test_a_new_term_starts_with_closed_circuits() -> None:
    desk = Desk().opened()
    desk.breaker.reset()
    assert not desk.breaker.is_open
    assert desk.observer.breakers == {"create": False, "confirm": False}
    assert desk.breaker.admit_claims(500) == 500


def test_thousands_of_the_same_are_counted_and_logged_once_a_minute(
    logs: list[MutableMapping[str, Any]],
) -> None:
    desk = Desk()
    for _ in range(100):
        desk.call(RESTRICTED, step="read")
    desk.clock.now_s += 61.0
    desk.call(RESTRICTED, step="read")
    assert [(entry["log_level"], entry["not_logged"]) for entry in logs] == [("error", 0), ("error", 99)]
    assert desk.observer.faults == [("read", RESTRICTED.code)] * 101


@in_virtual_time
async def test_a_paused_call_is_answered_at_once_and_reaches_no_processor() -> None:
    processor = a_processor()
    bench = Bench(processor)
    bench.breaker = Breaker(bench.clock, bench.observer)
    processor.refuse_us(Operation.CREATE, RESTRICTED, times=10_000)
    calls = bench.calls()

    def request(name: str) -> CreateIntent:
        attempt = an_attempt(name)
        customer = attempt.processor_customer_id
        return CreateIntent(
            create_key(attempt.invoice_id),
            attempt.amount,
            type(customer)(f"cus_{name}"),
            {"invoice_id": name},
        )

    answers = [await calls.create(request(str(number)), repeat=False) for number in range(50)]
    assert answers[: TUNING.faults] == [RESTRICTED] * TUNING.faults
    assert all(isinstance(answer, NotSent) and answer.reason == PAUSED for answer in answers[TUNING.faults :])
    assert len(processor.calls) == TUNING.faults


@in_virtual_time
async def test_while_the_account_refuses_everything_nobody_is_declined_and_afterwards_all_are_paid() -> None:
    processor, clock = a_processor(), VirtualClock()
    bench = Bench(processor, MemoryLedger(), clock=clock)
    bench.breaker = Breaker(clock, bench.observer)
    collector = bench.collector()
    processor.refuse_us(Operation.CONFIRM, RESTRICTED, times=30)
    attempts = [an_attempt(str(number)) for number in range(40)]
    async with asyncio.TaskGroup() as group:
        for attempt in attempts:
            group.create_task(collector.collect(attempt, found=False))
    assert {type(outcome) for _, outcome in bench.ledger.settled} == {Succeeded}
    assert len(bench.ledger.settled) == len(attempts) == len(processor.paid_intents())
    assert bench.observer.breakers["confirm"] is False
    confirms = [call for call in processor.calls if call.operation is Operation.CONFIRM]
    assert len(confirms) <= 30 + 40, "no call more than were refused and were paid"
