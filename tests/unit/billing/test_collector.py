"""One attempt, from wherever it is, to its settled outcome."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest
from tests.support.fake_processor import Fault, Operation
from tests.support.pipeline_rig import (
    Bench,
    CallsByScript,
    Journalling,
    MemoryLedger,
    a_processor,
    an_attempt,
    lasting_trust,
)
from tests.support.virtual_time import in_virtual_time

from middleman.billing.calls import Draining
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.idempotency import confirm_key, create_key
from middleman.domain.ids import ChargeId, PaymentIntentId
from middleman.domain.intents import IntentSnapshot, IntentStatus
from middleman.domain.money import Money
from middleman.ports.errors import TrustLost
from middleman.ports.processor import Created, Missing, NotSent, OperatorFault, Refused

PI = PaymentIntentId("pi_1")
OTHER = PaymentIntentId("pi_earlier")
CHARGE = ChargeId("ch_1")
PAID = Succeeded(CHARGE)
NO = Declined("card_declined", "insufficient_funds", charge_id=CHARGE)
SILENCE = Unknown("timeout")


def snapshot(status: IntentStatus = IntentStatus.REQUIRES_PAYMENT_METHOD, **fields: Any) -> IntentSnapshot:
    return IntentSnapshot(PI, status, Money(999, "EUR"), **fields)


READS_PAID = snapshot(IntentStatus.SUCCEEDED, latest_charge_id=CHARGE)
READS_DECLINED = snapshot(latest_charge_id=CHARGE, last_decline=NO)
READS_UNTOUCHED = snapshot()
READS_PROCESSING = snapshot(IntentStatus.PROCESSING)


class Story:
    """A bench whose processor follows a script; the journal tells what happened in which order."""

    def __init__(self, **script: Any) -> None:
        self.journal: list[str] = []
        script = {"create": [Created(PI)]} | script
        self.calls = CallsByScript(self.journal, **script)
        self.bench = Bench(self.calls, MemoryLedger(self.journal))
        self.ledger = self.bench.ledger

    @property
    def outcome(self) -> object:
        assert len(self.ledger.settled) == 1
        return self.ledger.settled[0][1]

    def only_stable_keys(self) -> bool:
        attempt = an_attempt()
        creates, confirms = self.calls.keys[Operation.CREATE], self.calls.keys[Operation.CONFIRM]
        return set(creates) <= {create_key(attempt.invoice_id)} and set(confirms) <= {
            confirm_key(attempt.attempt_id)
        }


@in_virtual_time
async def test_the_order_is_create_bind_confirm_settle() -> None:
    story = Story(confirm=[PAID])
    await story.bench.collect(an_attempt())
    assert story.journal == ["create", f"bind {PI}", f"confirm {PI}", "settle Succeeded"]
    assert story.outcome == PAID
    assert story.calls.repeats[Operation.CREATE] == story.calls.repeats[Operation.CONFIRM] == [False]
    assert story.only_stable_keys()


@in_virtual_time
async def test_failpoints_stand_between_the_steps() -> None:
    story = Story(confirm=[PAID])
    story.bench.failpoints = Journalling(story.journal)
    await story.bench.collect(an_attempt())
    assert story.journal == [
        "create",
        "failpoint after_create",
        f"bind {PI}",
        "failpoint after_bind",
        f"confirm {PI}",
        "failpoint before_settle",
        "settle Succeeded",
    ]


@pytest.mark.parametrize(
    "answer", [NO, RequiresAction(charge_id=CHARGE)], ids=["declined", "requires_action"]
)
def test_a_definite_no_is_settled_as_it_came(answer: Declined | RequiresAction) -> None:
    @in_virtual_time
    async def scenario() -> None:
        story = Story(confirm=[answer])
        await story.bench.collect(an_attempt())
        assert story.outcome == answer
        assert "read" not in " ".join(story.journal)

    scenario()


@in_virtual_time
async def test_a_refused_create_is_settled_as_a_decline_and_nothing_is_confirmed() -> None:
    story = Story(create=[Refused("resource_missing", "No such customer", "customer")])
    await story.bench.collect(an_attempt())
    assert story.journal == ["create", "settle Declined"]
    assert story.outcome == Declined("resource_missing", message="No such customer")


RESTRICTED = OperatorFault("invalid_request_error", "Your account cannot currently make live charges.")


@in_virtual_time
async def test_a_create_that_is_refused_for_the_operators_sake_declines_nobody() -> None:
    story = Story(create=[RESTRICTED, RESTRICTED, Created(PI)], confirm=[PAID])
    await story.bench.collect(an_attempt())
    assert story.journal == ["create"] * 3 + [f"bind {PI}", f"confirm {PI}", "settle Succeeded"]
    assert story.bench.deferred, "nobody waits for it"


@in_virtual_time
async def test_a_confirm_that_is_refused_for_the_operators_sake_is_read_and_confirmed_again() -> None:
    story = Story(confirm=[RESTRICTED, PAID], read=[READS_UNTOUCHED])
    await story.bench.collect(an_attempt())
    assert story.journal[2:] == [
        f"confirm {PI}",
        "unknown invalid_request_error",
        f"read {PI}",
        f"confirm {PI}",
        "settle Succeeded",
    ]
    assert story.calls.repeats[Operation.CONFIRM] == [False, True]


@in_virtual_time
async def test_a_confirm_that_a_proxy_passed_on_before_it_refused_the_answer_is_found_out_by_reading() -> (
    None
):
    story = Story(confirm=[OperatorFault("http_406", "no error object")], read=[READS_PAID])
    await story.bench.collect(an_attempt())
    assert story.outcome == PAID


@in_virtual_time
async def test_a_create_without_an_answer_is_repeated_under_the_same_key_until_it_has_one() -> None:
    story = Story(create=[SILENCE, SILENCE, Created(PI)], confirm=[PAID])
    await story.bench.collect(an_attempt())
    assert story.journal[:4] == ["create", "create", "create", f"bind {PI}"]
    assert story.calls.repeats[Operation.CREATE] == [False, True, True]
    assert story.only_stable_keys()
    assert story.bench.deferred, "nobody waits for an attempt that got no answer"
    assert not story.ledger.unknown, "a create moves no money: its outcome is not in question"


@in_virtual_time
async def test_a_create_that_was_not_sent_is_no_repeat() -> None:
    story = Story(create=[NotSent("no_connection"), Created(PI)], confirm=[PAID])
    await story.bench.collect(an_attempt())
    assert story.calls.repeats[Operation.CREATE] == [False, False]


@in_virtual_time
async def test_a_create_waits_as_long_as_the_processor_asks() -> None:
    story = Story(create=[NotSent("rate_limited", retry_after_s=30), Created(PI)], confirm=[PAID])
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    await story.bench.collect(an_attempt())
    assert loop.time() - started_s >= 30


@pytest.mark.parametrize(
    ("reading", "settled"), [(READS_PAID, PAID), (READS_DECLINED, NO)], ids=["succeeded", "declined"]
)
def test_an_unknown_confirm_is_noted_and_resolved_by_reading(
    reading: IntentSnapshot, settled: object
) -> None:
    @in_virtual_time
    async def scenario() -> None:
        story = Story(confirm=[SILENCE], read=[reading])
        await story.bench.collect(an_attempt())
        assert story.journal[2:5] == [f"confirm {PI}", "unknown timeout", f"read {PI}"]
        assert story.outcome == settled
        assert story.calls.keys[Operation.CONFIRM] == [confirm_key(an_attempt().attempt_id)]

    scenario()


@in_virtual_time
async def test_an_unknown_confirm_that_left_no_trace_is_repeated_under_the_same_key() -> None:
    story = Story(confirm=[SILENCE, PAID], read=[READS_UNTOUCHED])
    await story.bench.collect(an_attempt())
    assert story.journal[2:] == [
        f"confirm {PI}",
        "unknown timeout",
        f"read {PI}",
        f"confirm {PI}",
        "settle Succeeded",
    ]
    assert story.calls.repeats[Operation.CONFIRM] == [False, True]
    assert story.only_stable_keys()


@in_virtual_time
async def test_a_processing_intent_is_asked_again_and_never_confirmed_meanwhile() -> None:
    story = Story(confirm=[SILENCE], read=[READS_PROCESSING, READS_PROCESSING, READS_PAID])
    await story.bench.collect(an_attempt())
    assert story.journal[2:] == [f"confirm {PI}", "unknown timeout"] + [f"read {PI}"] * 3 + [
        "settle Succeeded"
    ]


@pytest.mark.parametrize("unanswered", [SILENCE, NotSent("no_connection")], ids=["unknown", "not_sent"])
def test_a_read_without_an_answer_is_repeated(unanswered: object) -> None:
    @in_virtual_time
    async def scenario() -> None:
        story = Story(confirm=[SILENCE], read=[unanswered, unanswered, READS_PAID])
        await story.bench.collect(an_attempt())
        assert story.journal.count(f"read {PI}") == 3
        assert story.journal.count(f"confirm {PI}") == 1

    scenario()


@in_virtual_time
async def test_a_confirm_that_was_not_sent_is_sent_again_without_reading() -> None:
    story = Story(confirm=[NotSent("no_connection"), NotSent("rate_limited", 3.0), PAID])
    await story.bench.collect(an_attempt())
    assert story.journal[2:] == [f"confirm {PI}"] * 3 + ["settle Succeeded"]
    assert story.calls.repeats[Operation.CONFIRM] == [False, False, False]


@in_virtual_time
async def test_a_confirm_that_was_not_sent_after_an_unknown_one_stays_a_repeat() -> None:
    story = Story(confirm=[SILENCE, NotSent("no_connection"), PAID], read=[READS_UNTOUCHED])
    await story.bench.collect(an_attempt())
    assert story.calls.repeats[Operation.CONFIRM] == [False, True, True]


@in_virtual_time
async def test_a_missing_intent_is_asked_for_again_and_again_and_never_guessed(
    logs: list[MutableMapping[str, Any]],
) -> None:
    story = Story(read=[Missing(), OperatorFault("not_authorized", "no"), Missing(), READS_PAID])
    await story.bench.collect(an_attempt(payment_intent_id=PI), found=True)
    assert story.journal == [f"read {PI}"] * 4 + ["settle Succeeded"]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == [
        "intent.missing",
        "processor.refuses_us",
        "intent.missing",
    ]


@in_virtual_time
async def test_an_intent_that_somebody_bound_before_is_the_one_that_is_read_and_confirmed() -> None:
    story = Story(confirm=[PAID], read=[READS_UNTOUCHED])
    attempt = an_attempt()
    story.ledger.bound[attempt.invoice_id] = OTHER
    await story.bench.collect(attempt)
    assert story.journal == ["create", f"bind {PI}", f"read {OTHER}", f"confirm {OTHER}", "settle Succeeded"]
    assert story.calls.repeats[Operation.CONFIRM] == [True], "whoever bound it may have confirmed it"


@in_virtual_time
async def test_a_refused_repeat_is_settled_by_what_the_intent_says() -> None:
    story = Story(
        confirm=[SILENCE, Refused("payment_intent_unexpected_state", "already paid")],
        read=[READS_UNTOUCHED, READS_PAID],
    )
    await story.bench.collect(an_attempt())
    assert story.outcome == PAID


@in_virtual_time
async def test_a_refused_confirm_of_an_untouched_intent_is_a_decline() -> None:
    story = Story(
        confirm=[Refused("resource_missing", "No such payment method")], read=[SILENCE, READS_UNTOUCHED]
    )
    await story.bench.collect(an_attempt())
    assert story.journal.count(f"confirm {PI}") == 1
    assert story.outcome == Declined("resource_missing", message="No such payment method")


@in_virtual_time
async def test_an_attempt_that_was_found_with_an_intent_is_read_first() -> None:
    story = Story(read=[READS_PAID])
    await story.bench.collect(an_attempt(payment_intent_id=PI), found=True)
    assert story.journal == [f"read {PI}", "settle Succeeded"]


@in_virtual_time
async def test_an_attempt_that_was_found_unexecuted_is_confirmed_as_a_repeat() -> None:
    story = Story(confirm=[PAID], read=[READS_UNTOUCHED])
    await story.bench.collect(an_attempt(payment_intent_id=PI), found=True)
    assert story.journal == [f"read {PI}", f"confirm {PI}", "settle Succeeded"]
    assert story.calls.repeats[Operation.CONFIRM] == [True]
    assert story.only_stable_keys()


@in_virtual_time
async def test_an_attempt_that_was_found_without_an_intent_is_created_as_a_repeat_and_confirmed_as_new() -> (
    None
):
    story = Story(confirm=[PAID])
    await story.bench.collect(an_attempt(), found=True)
    assert story.journal == ["create", f"bind {PI}", f"confirm {PI}", "settle Succeeded"]
    assert story.calls.repeats[Operation.CREATE] == [True], "a predecessor may have created it"
    assert story.calls.repeats[Operation.CONFIRM] == [False], "what was not bound was never confirmed"


@in_virtual_time
async def test_the_second_attempt_confirms_the_same_intent_under_a_key_of_its_own() -> None:
    processor = a_processor()
    bench = Bench(processor)
    processor.decline_next(Declined("card_declined", "insufficient_funds"))
    await bench.collect(an_attempt())
    [(_, declined)] = bench.ledger.settled
    assert isinstance(declined, Declined)
    second = an_attempt(
        attempt_no=2,
        payment_intent_id=next(iter(processor.intents)),
        settled_charge_ids=(declined.charge_id,),
    )
    processor.fail(Operation.CONFIRM, Fault.UNKNOWN_BEFORE)
    await bench.collect(second)
    assert isinstance(bench.ledger.settled[1][1], Succeeded), (
        "the first attempt's decline is not the second's"
    )
    assert len(processor.intents) == len(processor.paid_intents()) == 1
    assert {call.key for call in processor.calls if call.operation == "confirm"} == {
        confirm_key(an_attempt().attempt_id),
        confirm_key(second.attempt_id),
    }


@in_virtual_time
async def test_draining_leaves_an_unknown_attempt_open() -> None:
    story = Story(confirm=[SILENCE], read=[SILENCE])
    task = asyncio.create_task(story.bench.collect(an_attempt()))
    await asyncio.sleep(5)
    story.bench.draining.set()
    with pytest.raises(Draining):
        await task
    assert story.ledger.settled == []
    assert story.ledger.unknown == [(an_attempt().attempt_id, "timeout")]


@in_virtual_time
async def test_trust_that_ends_between_bind_and_confirm_prevents_the_confirm() -> None:
    story = Story(confirm=[PAID])
    trust = lasting_trust(story.bench.clock)
    story.bench.trust = trust

    async def lose_trust() -> None:
        trust.end("the lease is gone")

    story.bench.failpoints = Journalling([], {"after_bind": lose_trust})
    with pytest.raises(TrustLost):
        await story.bench.collect(an_attempt())
    assert story.journal == ["create", f"bind {PI}"]
