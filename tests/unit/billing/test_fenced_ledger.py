"""The writes of single attempts, gathered into fenced transactions that outlive the database's bad moments."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import pytest
from tests.support.memory_store import MemoryStore
from tests.support.pipeline_rig import CountingObserver, a_term, an_attempt, lasting_trust
from tests.support.virtual_time import VirtualClock, in_virtual_time

from middleman.billing.fenced_ledger import FencedLedger
from middleman.billing.patience import Patience
from middleman.domain.attempts import AttemptStatus, Declined, InvoiceStatus, Succeeded
from middleman.domain.dunning import DunningPolicy
from middleman.domain.ids import ChargeId, PaymentIntentId
from middleman.ports.errors import StaleTerm, TrustLost
from middleman.ports.store import StoreUnavailable

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
            with suppress(asyncio.CancelledError, StaleTerm, StoreUnavailable, TrustLost):
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
