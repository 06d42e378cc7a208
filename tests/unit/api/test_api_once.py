"""Around the tickets: what happens when the database or the processor is away at a bad moment."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.support.fake_processor import FakeProcessor, Fault, Operation

from middleman.adapters.postgres.accounts import PostgresAccounts
from middleman.billing import once
from middleman.billing.accounts import (
    CustomerRequest,
    Customers,
    ProcessorMisconfigured,
    ProcessorUnavailable,
)
from middleman.billing.forgetting import BATCH, KEPT_S, NOTICES_KEPT_S, forget_old_answers
from middleman.billing.once import HOLD_S, MOST_KEYS, OUTSIDE_S, Once, OutsideTooSlow
from middleman.domain.ids import PaymentMethodId
from middleman.entrypoints.api.problems import problem_of
from middleman.ports.accounts import NewCustomer
from middleman.ports.once import Answer, ProcessorStep, Reservation, Ticket
from middleman.ports.processor import OperatorFault
from middleman.ports.store import StoreUnavailable

TICKET = Ticket("key_1", "k", b"digest", b"canonical")
HELD_UNTIL = datetime(2026, 1, 1, tzinfo=UTC)


class FakeTransaction:
    """Tickets in memory, with as many old ones as a test says."""

    def __init__(self) -> None:
        self.reserved: list[str] = []
        self.key_no = 1
        self.key_nos: list[tuple[ProcessorStep, int]] = []
        self.released = 0
        self.old = 0
        self.asked: list[tuple[float, int]] = []
        self.old_notices = 0
        self.asked_notices: list[tuple[float, int]] = []

    async def reserve(self, ticket: Ticket, resource_id: str, hold_s: float) -> Reservation | Answer:
        self.reserved.append(resource_id)
        return Reservation(self.reserved[0], HELD_UNTIL, self.key_no, self.key_no)

    async def recall(self, ticket: Ticket) -> None: ...

    async def remember(self, ticket: Ticket, answer: Answer) -> None: ...

    async def add_customer(self, customer: NewCustomer) -> NewCustomer:
        return customer

    async def use_key_no(self, ticket: Ticket, step: ProcessorStep, key_no: int) -> int:
        self.key_nos.append((step, key_no))
        return key_no

    async def release(self, ticket: Ticket, reservation: Reservation) -> None:
        assert reservation.resource_id == self.reserved[0]
        self.released += 1

    async def require_no_customer(self, customer_id: str) -> None:
        assert customer_id == self.reserved[0]

    async def forget_tickets(self, older_than_s: float, limit: int) -> int:
        self.asked.append((older_than_s, limit))
        gone = min(self.old, limit)
        self.old -= gone
        return gone

    async def forget_notices(self, older_than_s: float, limit: int) -> int:
        self.asked_notices.append((older_than_s, limit))
        gone = min(self.old_notices, limit)
        self.old_notices -= gone
        return gone


class FakeAccounts:
    """Runs work at once; the next transactions fail where a test says so."""

    def __init__(self) -> None:
        self.transaction = FakeTransaction()
        self.away: list[bool] = []

    async def transact(self, work: Callable[[Any], Awaitable[Any]]) -> Any:
        if self.away and self.away.pop(0):
            raise StoreUnavailable("no answer")
        return await work(self.transaction)


def counting_ids() -> Callable[[str], str]:
    made = iter(range(1, 1000))
    return lambda prefix: f"{prefix}{next(made)}"


async def create(accounts: FakeAccounts, processor: FakeProcessor) -> Answer:
    customers = Customers(Once(accounts, counting_ids()), None, processor)  # type: ignore[arg-type]  # creating reads no records
    request = CustomerRequest("a@b", None, PaymentMethodId("pm_card_visa"), {})
    return await customers.create(request, TICKET, lambda _: Answer(201, b"{}"))


async def test_when_the_processor_is_away_the_ticket_is_released_for_a_repeat() -> None:
    accounts, processor = FakeAccounts(), FakeProcessor()
    processor.fail(Operation.ATTACH, Fault.NOT_SENT, retry_after_s=7)
    with pytest.raises(ProcessorUnavailable) as away:
        await create(accounts, processor)
    assert away.value.retry_after_s == 7
    assert accounts.transaction.released == 1


@pytest.mark.parametrize("operation", [Operation.CUSTOMER, Operation.ATTACH])
@pytest.mark.parametrize(("replayed", "key"), [(False, "with the same"), (True, "with a fresh")])
async def test_an_operators_fault_is_a_503_that_blames_no_value_of_the_request(
    operation: Operation, replayed: bool, key: str
) -> None:
    accounts, processor = FakeAccounts(), FakeProcessor()
    accounts.transaction.key_no = MOST_KEYS if replayed else 1
    processor.refuse_us(operation, OperatorFault("not_authorized", "check STRIPE_API_KEY", replayed))
    with pytest.raises(ProcessorMisconfigured) as refused:
        await create(accounts, processor)
    problem = problem_of(refused.value)
    assert (problem.status, problem.slug) == (503, "processor-misconfigured")
    assert problem.headers["Retry-After"]
    assert "not_authorized" in problem.detail
    assert f"{key} Idempotency-Key" in problem.detail
    assert "STRIPE_API_KEY" not in problem.detail, "what the operator has to do is for the log"
    assert accounts.transaction.released == 1


@pytest.mark.parametrize(
    ("operation", "step"), [(Operation.CUSTOMER, "customer"), (Operation.ATTACH, "attach")]
)
async def test_a_refusal_that_the_processor_stored_is_asked_about_once_more_under_the_next_key(
    operation: Operation, step: ProcessorStep
) -> None:
    accounts, processor = FakeAccounts(), FakeProcessor()
    processor.refuse_us(operation, OperatorFault("account_invalid", "restricted until an hour ago", True))
    assert (await create(accounts, processor)).status == 201
    assert accounts.transaction.key_nos == [(step, 2)]
    keys = [call.key for call in processor.calls if call.operation is operation]
    assert keys[1] == f"{keys[0]}-2"


async def test_a_ticket_that_cannot_be_released_hides_no_reason() -> None:
    accounts, processor = FakeAccounts(), FakeProcessor()
    accounts.away = [False, True]  # there for the reservation, away for the release
    processor.fail(Operation.CUSTOMER, Fault.UNKNOWN_AFTER)
    with pytest.raises(ProcessorUnavailable):
        await create(accounts, processor)
    assert accounts.transaction.released == 0


async def test_a_closing_transaction_that_fails_leaves_the_ticket_free_for_a_repeat() -> None:
    accounts = FakeAccounts()
    accounts.away = [False, True]  # there for the reservation, away for the effect, back for the release
    with pytest.raises(StoreUnavailable):
        await create(accounts, FakeProcessor())
    assert accounts.transaction.released == 1


async def test_nothing_is_sent_to_the_processor_before_the_ticket_is_reserved() -> None:
    accounts, processor = FakeAccounts(), FakeProcessor()
    accounts.away = [True]
    with pytest.raises(StoreUnavailable):
        await create(accounts, processor)
    assert processor.calls == []


async def test_a_processor_that_takes_too_long_is_left_before_the_hold_runs_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert OUTSIDE_S + PostgresAccounts(None).timeout_s <= HOLD_S  # type: ignore[arg-type]  # only its default is read
    monkeypatch.setattr(once, "OUTSIDE_S", 0.05)
    accounts, processor = FakeAccounts(), FakeProcessor()

    async def never(*_: object) -> None:
        await asyncio.Event().wait()

    processor.before_call = never
    with pytest.raises(OutsideTooSlow, match="no answer within"):
        await asyncio.wait_for(create(accounts, processor), 5)
    assert accounts.transaction.released == 1
    problem = problem_of(OutsideTooSlow("the payment processor gave no answer"))
    assert (problem.status, problem.slug) == (503, "processor-unavailable")
    assert problem.headers["Retry-After"]


class SteppingClock:
    """Each sleep returns at once, until the last one that a test allows; that one never does."""

    def __init__(self, sleeps: int) -> None:
        self.left = sleeps
        self.slept_s: list[float] = []
        self.exhausted = asyncio.Event()

    def boottime_s(self) -> float:
        return sum(self.slept_s)

    async def sleep(self, delay_s: float) -> None:
        self.slept_s.append(delay_s)
        self.left -= 1
        if self.left < 0:
            self.exhausted.set()
            await asyncio.Event().wait()


async def forget_until_exhausted(accounts: FakeAccounts, clock: SteppingClock) -> None:
    forgetting = asyncio.create_task(forget_old_answers(accounts, clock, lambda: 0.5))
    await asyncio.wait_for(clock.exhausted.wait(), 5)
    forgetting.cancel()
    await asyncio.gather(forgetting, return_exceptions=True)


async def test_old_tickets_go_in_batches_with_pauses_between() -> None:
    accounts, clock = FakeAccounts(), SteppingClock(3)
    accounts.transaction.old = 2 * BATCH + 1
    await forget_until_exhausted(accounts, clock)
    assert accounts.transaction.old == 0
    assert accounts.transaction.asked == [(KEPT_S, BATCH)] * 3
    assert clock.slept_s[1:3] == [0.1, 0.1]
    assert clock.slept_s[0] == clock.slept_s[3] > 60


async def test_old_notices_go_like_tickets_but_later() -> None:
    accounts, clock = FakeAccounts(), SteppingClock(2)
    accounts.transaction.old_notices = BATCH + 1
    await forget_until_exhausted(accounts, clock)
    assert accounts.transaction.old_notices == 0
    assert accounts.transaction.asked_notices == [(NOTICES_KEPT_S, BATCH)] * 2
    assert NOTICES_KEPT_S > KEPT_S


async def test_forgetting_goes_on_after_the_database_was_away() -> None:
    accounts, clock = FakeAccounts(), SteppingClock(2)
    accounts.away = [True]
    accounts.transaction.old = 1
    await forget_until_exhausted(accounts, clock)
    assert accounts.transaction.old == 0
