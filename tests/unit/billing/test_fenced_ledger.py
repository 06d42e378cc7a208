"""The writes of single attempts, gathered into fenced transactions that outlive the database's bad moments."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from tests.support.memory_store import MemoryStore
from tests.support.pipeline_rig import CountingObserver, a_term, an_attempt, lasting_trust
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.fenced_ledger import FencedLedger
from middleman.billing.patience import Patience
from middleman.domain.attempts import (
    AttemptStatus,
    Declined,
    DefiniteOutcome,
    InvoiceStatus,
    Succeeded,
    settle,
)
from middleman.domain.dunning import DunningPolicy
from middleman.domain.ids import ChargeId, PaymentIntentId
from middleman.ports.errors import StaleTerm, TrustLost
from middleman.ports.store import SettledAttempt, StoreRefused, StoreUnavailable

PI = PaymentIntentId("pi_1")
PATIENCE_S = 10.0
PAID = Succeeded(ChargeId("ch_1"))


class Office:
    """A ledger for one term on a store in memory."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.observer = CountingObserver()
        clock = VirtualClock()
        self.trust = lasting_trust(clock)
        self.ledger = FencedLedger(
            a_term(),
            self.store,
            self.trust,
            DunningPolicy((timedelta(days=1),)),
            clock,
            lambda: 1.0,
            self.observer,
            Patience(clock, PATIENCE_S),
            batch_limit=100,
            linger_s=0.02,
        )

    @asynccontextmanager
    async def open(self) -> AsyncIterator["asyncio.Future[list[None]]"]:
        runs = asyncio.gather(*(run() for run in self.ledger.runs))
        try:
            yield runs
        finally:
            runs.cancel()
            with suppress(asyncio.CancelledError, StaleTerm, StoreRefused, StoreUnavailable, TrustLost):
                await runs


@in_virtual_time
async def test_bindings_return_what_is_recorded() -> None:
    office = Office()
    office.store.bound[an_attempt("b").invoice_id] = PaymentIntentId("pi_earlier")
    async with office.open():
        recorded = await asyncio.gather(
            office.ledger.bind(an_attempt("a"), PI), office.ledger.bind(an_attempt("b"), PI)
        )
    assert tuple(recorded) == (PI, "pi_earlier")


@in_virtual_time
async def test_an_outcome_is_settled_with_what_follows_from_it() -> None:
    office = Office()
    first, second = an_attempt("a"), an_attempt("a", attempt_no=2)
    office.store.open = {each.attempt_id: each for each in (first, second)}
    no = Declined("card_declined", "insufficient_funds")
    async with office.open():
        await asyncio.gather(office.ledger.settle(first, no), office.ledger.settle(second, no))
    follows = [
        (each.settlement.invoice_status, each.settlement.next_attempt_after) for each in office.store.settled
    ]
    assert follows == [(InvoiceStatus.OPEN, timedelta(days=1)), (InvoiceStatus.UNCOLLECTIBLE, None)]
    assert office.observer.settlements == [AttemptStatus.DECLINED, AttemptStatus.DECLINED]


@in_virtual_time
async def test_a_write_is_repeated_until_the_database_is_back() -> None:
    office = Office()
    attempt = an_attempt()
    office.store.open[attempt.attempt_id] = attempt
    office.store.fail = {"settle": 3, "commit": 2, "bind": 1, "mark_unknown": 1}
    async with office.open():
        assert await office.ledger.bind(attempt, PI) == PI
        await office.ledger.mark_unknown(attempt, "timeout")
        await office.ledger.settle(attempt, PAID)
    assert [each.outcome for each in office.store.settled] == [PAID]
    assert office.observer.unavailable == 7
    assert office.observer.settlements == ["succeeded"]


@in_virtual_time
async def test_a_write_is_given_up_when_trust_ends() -> None:
    office = Office()
    office.store.fail["settle"] = 10_000
    async with office.open() as runs:
        waiter = asyncio.create_task(office.ledger.settle(an_attempt(), PAID))
        await asyncio.sleep(PATIENCE_S - 1)
        assert not runs.done()
        assert 8 <= office.observer.unavailable <= 20, "it backs off to about one try a second"
        office.trust.end("the lease is gone")
        with pytest.raises(TrustLost):
            await runs
        assert not waiter.done()
        waiter.cancel()


@in_virtual_time
async def test_a_stale_term_ends_the_ledger_without_a_second_try() -> None:
    office = Office()
    office.store.raises = StaleTerm("a later one has begun")
    async with office.open() as runs:
        waiter = asyncio.create_task(office.ledger.settle(an_attempt(), PAID))
        with pytest.raises(StaleTerm):
            await runs
        assert not waiter.done()
        waiter.cancel()
    assert office.observer.settlements == []


@in_virtual_time
async def test_a_write_is_given_up_when_the_database_stays_away() -> None:
    office = Office()
    office.store.fail["settle"] = 10_000
    async with office.open() as runs:
        waiter = asyncio.create_task(office.ledger.settle(an_attempt(), PAID))
        with pytest.raises(StoreUnavailable):
            async with asyncio.timeout(PATIENCE_S + 2):
                await runs
        waiter.cancel()


async def ends_stale(office: Office, write: Callable[[FencedLedger], Awaitable[object]], said: str) -> None:
    async with office.open() as runs:
        waiter = asyncio.ensure_future(write(office.ledger))
        with pytest.raises(StaleTerm, match=said):
            async with asyncio.timeout(PATIENCE_S):
                await runs
        assert not waiter.done()
        waiter.cancel()
    assert office.observer.settlements == []


WRITES: dict[str, Callable[[FencedLedger], Awaitable[object]]] = {
    "bind": lambda ledger: ledger.bind(an_attempt(), PI),
    "settle": lambda ledger: ledger.settle(an_attempt(), PAID),
    "mark_unknown": lambda ledger: ledger.mark_unknown(an_attempt(), "timeout"),
    "park": lambda ledger: ledger.park(an_attempt(), "timeout", times=1),
    "use_next_keys": lambda ledger: ledger.use_next_keys(an_attempt()),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@in_virtual_time
async def test_a_write_about_what_the_database_has_lost_makes_the_term_stale(
    write: Callable[[FencedLedger], Awaitable[object]],
) -> None:
    office = Office()
    office.store.lost = {an_attempt().attempt_id, an_attempt().invoice_id}
    await ends_stale(office, write, "has lost")


@in_virtual_time
async def test_an_outcome_that_was_settled_by_the_first_try_is_settled() -> None:
    office = Office()
    attempt = an_attempt()
    office.store.open[attempt.attempt_id] = attempt
    async with office.open():
        await office.ledger.settle(attempt, PAID)
        await office.ledger.settle(attempt, PAID)
    assert [each.outcome for each in office.store.settled] == [PAID]


@pytest.mark.parametrize("other", [Declined("card_declined"), Succeeded(ChargeId("ch_2"))])
@in_virtual_time
async def test_an_outcome_that_contradicts_the_settled_one_makes_the_term_stale(
    other: DefiniteOutcome,
) -> None:
    office = Office()
    attempt = an_attempt()
    settlement = settle(other, attempt_no=1, policy=DunningPolicy())
    office.store.settled = [SettledAttempt(attempt.attempt_id, other, settlement)]
    await ends_stale(office, lambda ledger: ledger.settle(attempt, PAID), "is settled otherwise")


@in_virtual_time
async def test_a_success_whose_binding_the_database_has_lost_makes_the_term_stale() -> None:
    office = Office()
    attempt = an_attempt()
    office.store.open[attempt.attempt_id] = attempt
    office.store.refuses.add("settle")  # a paid invoice names its intent, says a constraint
    await ends_stale(office, lambda ledger: ledger.settle(attempt, PAID), "binding")


@in_virtual_time
async def test_a_refusal_that_no_loss_explains_stays_a_refusal() -> None:
    office = Office()
    attempt = an_attempt()
    office.store.open[attempt.attempt_id] = attempt
    office.store.bound[attempt.invoice_id] = PI
    office.store.refuses.add("settle")
    async with office.open() as runs:
        with pytest.raises(StoreRefused):
            async with asyncio.timeout(PATIENCE_S):
                await office.ledger.settle(attempt, PAID)
        assert not runs.done(), "the term goes on: it is one attempt that the database refuses"
