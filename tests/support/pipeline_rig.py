"""The charge pipeline on a bench: attempts, a ledger and a store in memory, answers by script.

Everything is journalled in the order in which it happened, so that a test reads like the story of one charge.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from uuid import UUID

from middleman.billing.breaker import Breaker
from middleman.billing.calls import ProcessorCalls
from middleman.billing.clock_check import ClockCheck, ProcessorClock
from middleman.billing.collect import Collector
from middleman.billing.names import StableNames
from middleman.billing.observer import BillingObserver, SilentBillingObserver
from middleman.billing.pace import Slots
from middleman.billing.rate_limit import RateLimiter
from middleman.billing.reach import ProcessorReach
from middleman.domain.attempts import DefiniteOutcome
from middleman.domain.ids import (
    AttemptId,
    InvoiceId,
    PaymentIntentId,
    PaymentMethodId,
    ProcessorCustomerId,
    SubscriptionId,
    attempt_id,
    invoice_id,
)
from middleman.domain.money import Money
from middleman.ports.clock import Clock, ClockReading, WallClock
from middleman.ports.failpoints import NO_FAILPOINTS, Failpoints
from middleman.ports.processor import PaymentProcessor
from middleman.ports.store import (
    OpenAttempt,
)
from middleman.ports.term import Term
from middleman.ports.trust import Trust, TrustWindow
from tests.support.fake_processor import FakeProcessor, Operation
from tests.support.virtual_time import VirtualClock

CUSTOMER = ProcessorCustomerId("cus_bench")
CARD = PaymentMethodId("pm_card_visa")
FAR_S = 1e12
CLOCK_TOLERANCE_S = 300.0


def a_term(number: int = 1) -> Term:
    """A term that some replica holds."""
    return Term(number, UUID(int=number), 0, f"replica-{number}", number)


def an_attempt(name: str = "a", *, attempt_no: int = 1, **changes: object) -> OpenAttempt:
    """The open attempt of `sub_<name>`, period 0; nothing is bound unless `changes` say so."""
    subscription = SubscriptionId(f"sub_{name}")
    invoice = invoice_id(subscription, 0)
    attempt = OpenAttempt(
        attempt_id=attempt_id(invoice, attempt_no),
        attempt_no=attempt_no,
        invoice_id=invoice,
        subscription_id=subscription,
        period_no=0,
        amount=Money(999, "EUR"),
        processor_customer_id=CUSTOMER,
        payment_method_id=CARD,
        payment_intent_id=None,
        settled_charge_ids=(),
    )
    return replace(attempt, **changes)  # type: ignore[arg-type]  # the caller names fields of OpenAttempt


class ClockWithDate(Clock, WallClock, Protocol):
    """This machine's clocks."""


def no_clock() -> ClockReading | None:
    """A processor that has not answered yet."""
    return None


def a_clock_check(
    clock: ClockWithDate, processor: ProcessorClock = no_clock, observer: BillingObserver | None = None
) -> ClockCheck:
    """The clocks of the store, of this machine and of the processor are compared; five minutes are tolerated."""
    return ClockCheck(
        clock=clock,
        wall=clock,
        processor=processor,
        tolerance_s=CLOCK_TOLERANCE_S,
        observer=observer or SilentBillingObserver(),
    )


def lasting_trust(clock: Clock) -> TrustWindow:
    """Trust that does not run out by itself; `end` ends it."""
    return TrustWindow(clock, FAR_S)


def a_processor(**settings: object) -> FakeProcessor:
    """The fake processor, which knows the bench's customer."""
    processor = FakeProcessor(**settings)  # type: ignore[arg-type]  # the caller names fields of FakeProcessor
    processor.know_customer(CUSTOMER)
    return processor


class CallsByScript:
    """A `PaymentProcessor` whose answers a test writes down; each call is journalled as it arrives.

    The guard is called first, as the port demands. `script` holds answers per operation, used up in
    order; the last one is repeated.
    """

    def __init__(self, journal: list[str], **script: Sequence[object]) -> None:
        self._journal = journal
        self._script = {Operation(name): deque(answers) for name, answers in script.items()}
        self.keys: dict[Operation, list[str]] = {operation: [] for operation in Operation}
        self.repeats: dict[Operation, list[bool]] = {operation: [] for operation in Operation}

    async def create_intent(self, request: object, **how: Any) -> object:
        return await self._answer(Operation.CREATE, request, **how)

    async def confirm_intent(self, request: object, **how: Any) -> object:
        return await self._answer(Operation.CONFIRM, request, **how)

    async def read_intent(self, intent_id: object, **how: Any) -> object:
        return await self._answer(Operation.READ, intent_id, **how)

    async def _answer(
        self,
        operation: Operation,
        request: object,
        *,
        repeat: bool = False,
        guard: Callable[[], None] | None = None,
    ) -> object:
        assert guard is not None, "the pipeline calls the processor without a guard"
        guard()
        subject = "" if operation is Operation.CREATE else f" {getattr(request, 'intent_id', request)}"
        self._journal.append(f"{operation}{subject}")
        self.keys[operation].append(str(getattr(request, "idempotency_key", "")))
        self.repeats[operation].append(repeat)
        answers = self._script[operation]
        await asyncio.sleep(0)
        return answers.popleft() if len(answers) > 1 else answers[0]


class MemoryLedger:
    """`middleman.billing.collect.Ledger` for any number of terms: what is written here has committed."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.journal = journal if journal is not None else []
        self.bound: dict[InvoiceId, PaymentIntentId] = {}
        self.unknown: list[tuple[AttemptId, str]] = []
        self.settled: list[tuple[AttemptId, DefiniteOutcome]] = []
        self.parked: list[tuple[AttemptId, str, int]] = []
        self.before_write: Callable[[str], Awaitable[None]] | None = None
        self.after_write: Callable[[str], Awaitable[None]] | None = None

    async def bind(self, attempt: OpenAttempt, intent_id: PaymentIntentId) -> PaymentIntentId:
        await self._around("bind", self.before_write)
        recorded = self.bound.setdefault(attempt.invoice_id, intent_id)
        self.journal.append(f"bind {intent_id}")
        await self._around("bind", self.after_write)
        return recorded

    async def mark_unknown(self, attempt: OpenAttempt, reason: str) -> None:
        await self._around("unknown", self.before_write)
        self.unknown.append((attempt.attempt_id, reason))
        self.journal.append(f"unknown {reason}")
        await self._around("unknown", self.after_write)

    async def park(self, attempt: OpenAttempt, reason: str, *, times: int) -> None:
        self.parked.append((attempt.attempt_id, reason, times))
        self.journal.append(f"park {reason}")

    async def use_next_keys(self, attempt: OpenAttempt) -> None:
        self.journal.append(f"next keys {attempt.create_key_no} {attempt.confirm_key_no}")

    async def settle(self, attempt: OpenAttempt, outcome: DefiniteOutcome) -> None:
        await self._around("settle", self.before_write)
        self.settled.append((attempt.attempt_id, outcome))
        self.journal.append(f"settle {type(outcome).__name__}")
        await self._around("settle", self.after_write)

    def is_settled(self, attempt: OpenAttempt) -> bool:
        return any(settled == attempt.attempt_id for settled, _ in self.settled)

    @staticmethod
    async def _around(stage: str, hook: Callable[[str], Awaitable[None]] | None) -> None:
        if hook is not None:
            await hook(stage)


@dataclass(slots=True)
class Journalling:
    """Failpoints that journal themselves and may call something at one of them."""

    journal: list[str]
    on: Mapping[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)

    async def hit(self, name: str) -> None:
        self.journal.append(f"failpoint {name}")
        if name in self.on:
            await self.on[name]()


class CountingObserver(SilentBillingObserver):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.recoveries: list[int] = []
        self.claims: list[tuple[str, int]] = []
        self.claims_took_s: list[float] = []
        self.unavailable = 0
        self.settlements: list[str] = []
        self.faults: list[tuple[str, str]] = []
        self.breakers: dict[str, bool] = {}
        self.wrong_clocks: list[str | None] = []
        self.clocks_ahead_s: dict[str, float] = {}

    def called(self, step: str, result: str, took_s: float) -> None:
        self.calls.append((step, result))

    def recovered(self, attempts: int, took_s: float) -> None:
        self.recoveries.append(attempts)

    def claimed(self, kind: str, attempts: int, lag_s: float, took_s: float) -> None:
        self.claims.append((kind, attempts))
        self.claims_took_s.append(took_s)

    def refused_us(self, step: str, code: str) -> None:
        self.faults.append((step, code))

    def breaker(self, step: str, is_open: bool) -> None:
        self.breakers[step] = is_open

    def clocks_apart(self, wrong: str | None) -> None:
        self.wrong_clocks.append(wrong)

    def clock_ahead(self, clock: str, ahead_s: float) -> None:
        self.clocks_ahead_s[clock] = ahead_s

    def settled(self, outcome: str) -> None:
        self.settlements.append(outcome)

    def store_unavailable(self) -> None:
        self.unavailable += 1


@dataclass(slots=True)
class Bench:
    """One term's collector on a ledger and a processor. `deferred` names attempts that had to wait."""

    processor: object
    ledger: MemoryLedger = field(default_factory=MemoryLedger)
    clock: Clock = field(default_factory=VirtualClock)
    term: Term = field(default_factory=a_term)
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    deferred: list[AttemptId] = field(default_factory=list)
    observer: CountingObserver = field(default_factory=CountingObserver)
    failpoints: Failpoints = NO_FAILPOINTS
    trust: Trust | None = None
    concurrency: int = 64
    limiter: RateLimiter | None = None
    reach: ProcessorReach | None = None
    breaker: Breaker | None = None

    def calls(self) -> ProcessorCalls:
        """Calls as this term makes them."""
        processor: PaymentProcessor = self.processor  # type: ignore[assignment]  # scripts implement the three calls only
        return ProcessorCalls(
            processor,
            trust=self.trust or lasting_trust(self.clock),
            draining=self.draining,
            limiter=self.limiter or RateLimiter(self.clock),
            reach=self.reach or ProcessorReach(self.clock, lambda: 0.5),
            breaker=self.breaker or Breaker(self.clock, self.observer),
            slots=Slots(self.concurrency),
            clock=self.clock,
            uniform=lambda: 0.5,
            observer=self.observer,
        )

    def collector(self, kind: type[Collector] = Collector) -> Collector:
        """The collector of this term."""
        return kind(
            self.term, self.calls(), self.ledger, StableNames(), self.failpoints, self.deferred.append
        )

    async def collect(self, attempt: OpenAttempt, *, found: bool = False) -> None:
        """Collect one attempt."""
        await self.collector().collect(attempt, found=found)
