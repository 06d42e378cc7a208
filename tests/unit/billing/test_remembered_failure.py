"""A create that was executed but is remembered as failed: the intent is found by listing and bound."""

from tests.support.fake_processor import Operation
from tests.support.pipeline_rig import Bench, MemoryLedger, a_processor, an_attempt
from tests.support.virtual_time import in_virtual_time

from middleman.domain.attempts import Succeeded


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
