"""How long one term waits for its database, however many of its writers wait at once."""

import asyncio

import pytest
from tests.support.memory_store import MemoryStore
from tests.support.pipeline_rig import a_term
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.patience import Patience
from middleman.ports.store import StoreUnavailable

LIMIT_S = 10.0
FOR_EVER_S = 3600.0


async def write(patience: Patience, store: MemoryStore) -> None:
    """One transaction, as the pipeline's writers make them."""
    try:
        async with patience.transaction(store, a_term()):
            pass
    except StoreUnavailable as error:
        patience.unanswered(error)


@in_virtual_time
async def test_a_transaction_without_an_answer_ends_with_patience_and_not_before() -> None:
    patience, loop = Patience(VirtualClock(), LIMIT_S), asyncio.get_running_loop()
    began_s = loop.time()
    with pytest.raises(StoreUnavailable, match=r"no answer within 10\.0 s"):
        await write(patience, MemoryStore(answers_after_s=FOR_EVER_S))
    assert loop.time() - began_s == pytest.approx(LIMIT_S)


@in_virtual_time
async def test_a_second_try_waits_only_for_what_the_first_has_left() -> None:
    patience, loop = Patience(VirtualClock(), LIMIT_S), asyncio.get_running_loop()
    began_s = loop.time()
    await write(patience, MemoryStore(fail={"commit": 1}))
    await asyncio.sleep(6)
    with pytest.raises(StoreUnavailable, match=r"no answer within 4\.0 s"):
        await write(patience, MemoryStore(answers_after_s=FOR_EVER_S))
    assert loop.time() - began_s == pytest.approx(LIMIT_S)


@in_virtual_time
async def test_one_writer_that_hangs_gives_no_term_up_while_others_are_answered() -> None:
    patience, loop = Patience(VirtualClock(), LIMIT_S), asyncio.get_running_loop()
    hanging = asyncio.create_task(write(patience, MemoryStore(answers_after_s=FOR_EVER_S)))
    await asyncio.sleep(LIMIT_S - 1)
    await write(patience, MemoryStore())
    await hanging
    began_s = loop.time()
    with pytest.raises(StoreUnavailable):
        await write(patience, MemoryStore(answers_after_s=FOR_EVER_S))
    assert loop.time() - began_s == pytest.approx(LIMIT_S - 1), (
        "silent since the last answer, a second before"
    )


@in_virtual_time
async def test_one_transaction_that_commits_makes_up_for_one_that_failed_however_long_the_next_takes_to_begin() -> (
    None
):
    patience, loop = Patience(VirtualClock(), LIMIT_S), asyncio.get_running_loop()
    await write(patience, MemoryStore(fail={"commit": 1}))
    await write(patience, MemoryStore())
    await asyncio.sleep(2 * LIMIT_S)
    began_s = loop.time()
    await write(patience, MemoryStore(fail={"commit": 1}))
    assert loop.time() == began_s, "a new trouble, with all of the time left"


@in_virtual_time
async def test_a_try_that_begins_after_patience_has_run_out_is_the_last_and_counts_when_it_is_answered() -> (
    None
):
    patience, loop = Patience(VirtualClock(), LIMIT_S), asyncio.get_running_loop()
    await write(patience, MemoryStore(fail={"commit": 1}))
    await asyncio.sleep(LIMIT_S + 0.7)
    await write(patience, MemoryStore())  # the database is back
    began_s = loop.time()
    await write(patience, MemoryStore(fail={"commit": 1}))
    await asyncio.sleep(LIMIT_S + 0.7)
    with pytest.raises(StoreUnavailable, match=r"no answer within 0\.5 s"):
        await write(patience, MemoryStore(answers_after_s=FOR_EVER_S))
    assert loop.time() - began_s == pytest.approx(LIMIT_S + 0.7 + 0.5)
