"""A create that was executed but is remembered as failed: the intent is found by listing and bound."""

import pytest
from tests.support.fake_processor import Fault, Operation
from tests.support.pipeline_rig import CUSTOMER, Bench, MemoryLedger, a_processor, an_attempt
from tests.support.virtual_time import in_virtual_time

from middleman.domain.attempts import Succeeded
from middleman.domain.idempotency import checked_key, confirm_key, create_key
from middleman.domain.money import Money
from middleman.ports.processor import Created, CreateIntent, OperatorFault


@in_virtual_time
async def test_an_intent_behind_a_remembered_500_is_found_and_charged() -> None:
    """The key answers 500 for a day; without the look into the list the invoice would wait as long."""
    processor = a_processor()
    processor.store_500(Operation.CREATE)
    ledger = MemoryLedger()
    attempt = an_attempt()
    await Bench(processor, ledger).collect(attempt)
    paid = processor.paid_intents()
    assert len(processor.intents) == len(paid) == 1
    assert ledger.bound == {attempt.invoice_id: next(iter(paid))}
    assert isinstance(ledger.settled[0][1], Succeeded)


@in_virtual_time
async def test_the_intent_of_another_invoice_is_not_taken() -> None:
    processor = a_processor()
    await Bench(processor, MemoryLedger()).collect(an_attempt("other"))
    processor.store_500(Operation.CREATE)
    ledger = MemoryLedger()
    await Bench(processor, ledger).collect(an_attempt("mine"))
    assert len(processor.paid_intents()) == 2
    bound = ledger.bound[an_attempt("mine").invoice_id]
    assert processor.intents[bound].metadata["invoice_id"] == an_attempt("mine").invoice_id


@in_virtual_time
async def test_a_create_that_failed_for_good_is_made_under_the_next_key_on_record_before_it_is_sent() -> None:
    processor = a_processor()
    processor.store_500(Operation.CREATE, executed=False)
    ledger = MemoryLedger()
    attempt = an_attempt()
    await Bench(processor, ledger).collect(attempt)
    creates = [call.key for call in processor.calls if call.operation is Operation.CREATE]
    assert creates == [create_key(attempt.invoice_id)] * 2 + [create_key(attempt.invoice_id, 2)]
    assert ledger.journal.index("next keys 2 1") < ledger.journal.index("settle Succeeded")
    assert len(processor.intents) == 1


@in_virtual_time
async def test_a_confirm_that_failed_for_good_is_repeated_under_the_next_key_after_reading() -> None:
    processor = a_processor()
    processor.store_500(Operation.CONFIRM, executed=False)
    ledger = MemoryLedger()
    attempt = an_attempt()
    await Bench(processor, ledger).collect(attempt)
    confirms = [call.key for call in processor.calls if call.operation is Operation.CONFIRM]
    assert confirms == [confirm_key(attempt.attempt_id)] * 2 + [confirm_key(attempt.attempt_id, 2)]
    last = [call.operation for call in processor.calls][-2:]
    assert last == [Operation.READ, Operation.CONFIRM]
    assert isinstance(ledger.settled[0][1], Succeeded)


@in_virtual_time
async def test_a_parked_attempt_goes_on_with_the_key_that_is_on_record() -> None:
    processor = a_processor()
    attempt = an_attempt(create_key_no=3, confirm_key_no=2, parked_count=1)
    await Bench(processor, MemoryLedger()).collect(attempt, found=True)
    assert [call.key for call in processor.calls if call.key] == [
        create_key(attempt.invoice_id, 3),
        confirm_key(attempt.attempt_id, 2),
    ]


@in_virtual_time
async def test_an_attempt_that_is_parked_again_waits_longer_only_for_trouble_of_its_own() -> None:
    processor = a_processor()
    ledger = MemoryLedger()
    processor.fail(Operation.CREATE, Fault.NOT_SENT, times=1000)
    await Bench(processor, ledger).collect(an_attempt(parked_count=3), found=True)
    assert ledger.parked == [(an_attempt().attempt_id, "no_connection", 3)]


@pytest.mark.parametrize("refused", [True, False], ids=["refusal", "500"])
def test_a_parked_attempt_whose_key_is_spent_goes_on_to_the_next_key_in_its_one_try(refused: bool) -> None:
    @in_virtual_time
    async def scenario() -> None:
        processor = a_processor()
        created = await processor.create_intent(
            CreateIntent(checked_key("made-before"), Money(999, "EUR"), CUSTOMER, {})
        )
        assert isinstance(created, Created)
        attempt = an_attempt(payment_intent_id=created.intent_id, parked_count=1)
        if refused:
            fault = OperatorFault("invalid_request_error", "the account may not charge")
            processor.refuse_us(Operation.CONFIRM, fault, remembered=True)
        else:
            processor.store_500(Operation.CONFIRM, executed=False)
        ledger = MemoryLedger()
        for _ in range(2):  # the try in which the answer was stored, and the one after the cause is gone
            await Bench(processor, ledger).collect(attempt, found=True)
            if ledger.settled:
                break
        assert isinstance(ledger.settled[0][1], Succeeded)
        assert len(processor.paid_intents()) == 1

    scenario()
