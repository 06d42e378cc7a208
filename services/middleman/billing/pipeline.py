"""What a leader does in its term: recover, then claim and collect until it drains or must stop.

recover every open attempt ─▶ ┌─ end subscriptions, claim due periods and retries ─┐ ─▶ drain
                              ├──────── collect each (billing/collect.py) ─────────┤
                              └─ look into what webhooks told of (noticing.py) ────┘
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog

from middleman.billing.breaker import Breaker
from middleman.billing.calls import Draining, ProcessorCalls
from middleman.billing.claiming import Claimer, TakeOn
from middleman.billing.clock_check import ClockCheck, ClockCheckedStore
from middleman.billing.collect import Collector
from middleman.billing.due import DueClaims
from middleman.billing.fenced_ledger import FencedLedger
from middleman.billing.in_flight import InFlight, WorkId
from middleman.billing.names import RequestNames
from middleman.billing.noticing import Looker
from middleman.billing.observer import BillingObserver
from middleman.billing.pace import Pace, Slots
from middleman.billing.parked_work import ParkedWork
from middleman.billing.parking import ParkedBudget
from middleman.billing.patience import Patience
from middleman.billing.rate_limit import RateLimiter
from middleman.billing.reach import ProcessorReach
from middleman.domain.dunning import DunningPolicy
from middleman.ports.clock import Clock
from middleman.ports.failpoints import Failpoints
from middleman.ports.processor import PaymentProcessor
from middleman.ports.store import OpenAttempt, PendingNotice, Store, StoreRefused
from middleman.ports.term import Term
from middleman.ports.trust import Trust

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PipelineLimits:
    """The bounds of the pipeline. Batches and in-flight count attempts; times are in seconds."""

    concurrency: int = 64
    in_flight: int = 2000
    claim_batch: int = 500
    flush_batch: int = 500
    flush_linger_s: float = 0.02
    idle_poll_s: float = 0.2
    store_patience_s: float = 10.0
    max_overdue: int = 3  # periods of one subscription that are caught up unasked

    @property
    def claim_room(self) -> int:
        """A claim waits for this much room: half a batch, and never more than a quarter of all there is."""
        return max(2, min(self.claim_batch // 2, self.in_flight // 4))


class Pipeline:
    """Implements `middleman.leadership.tenure.Lead`. One object serves every term of a replica."""

    def __init__(
        self,
        *,
        store: Store,
        processor: PaymentProcessor,
        limiter: RateLimiter,
        policy: DunningPolicy,
        names: RequestNames,
        limits: PipelineLimits,
        clock: Clock,
        uniform: Callable[[], float],
        failpoints: Failpoints,
        observer: BillingObserver,
        clock_check: ClockCheck,
        collector: type[Collector] = Collector,
    ) -> None:
        """`uniform` gives numbers in `[0, 1)` for jitter; `collector` is replaced by the unsafe builds only."""
        self._store = store
        self._processor = processor
        self._limiter = limiter
        self._policy = policy
        self._names = names
        self._limits = limits
        self._clock = clock
        self._uniform = uniform
        self._failpoints = failpoints
        self._observer = observer
        self._clock_check = clock_check
        self._claimable = ClockCheckedStore(store, clock_check)
        self._collector_type = collector
        self._reach = ProcessorReach(clock, uniform)
        self._breaker = Breaker(clock, observer)

    async def __call__(self, term: Term, trust: Trust, draining: asyncio.Event) -> None:
        """Lead for one term; see `Lead`.

        Raises:
            StaleTerm, TrustLost: stand down.
            StoreUnavailable, ProcessorUnreachable: away for too long; let another replica try.
        """
        self._reach.begin_term()
        self._breaker.reset()
        self._clock_check.begin_term()
        in_flight = InFlight(self._limits.in_flight)
        patience = Patience(self._clock, self._limits.store_patience_s)
        ledger = self._ledger(term, trust, patience)
        slots = Slots(self._limits.concurrency)
        calls = self._calls(trust, draining, slots, is_full=lambda: in_flight.room < self._limits.claim_room)

        def defer(work_id: WorkId) -> None:
            in_flight.defer(work_id)
            self._observer.in_flight(len(in_flight), in_flight.unanswered)

        collector = self._collector_type(term, calls, ledger, self._names, self._failpoints, defer)
        looker = Looker(calls, ledger, self._observer, defer)
        async with _first_error_alone(), asyncio.TaskGroup() as group:
            beside = [group.create_task(run()) for run in ledger.runs]
            beside.append(group.create_task(Pace(slots, self._clock, self._observer).keep()))

            def take_on(attempt: OpenAttempt, found: bool) -> None:
                if in_flight.add(attempt.attempt_id):
                    group.create_task(self._carry(collector, ledger, attempt, found, in_flight))

            def look_into(notice: PendingNotice) -> None:
                if in_flight.room and in_flight.add(notice.notice_id):
                    group.create_task(self._look(looker, ledger, notice, take_on, in_flight))

            claimer = Claimer(
                term=term,
                trust=trust,
                draining=draining,
                store=self._store,
                due=DueClaims(
                    term,
                    self._claimable,
                    self._clock,
                    patience,
                    self._observer,
                    self._limits.max_overdue,
                ),
                in_flight=in_flight,
                breaker=self._breaker,
                take_on=take_on,
                look_into=look_into,
                parked=ParkedWork(
                    ParkedBudget(self._clock),
                    self._clock,
                    at_once=max(1, self._limits.concurrency // 16),
                    read_rate_per_s=lambda: self._limiter.rate_per_s("read"),
                ),
                clock=self._clock,
                uniform=self._uniform,
                failpoints=self._failpoints,
                observer=self._observer,
                patience=patience,
                batch=self._limits.claim_batch,
                claim_room=self._limits.claim_room,
                idle_poll_s=self._limits.idle_poll_s,
            )
            await claimer.run()
            ledger.hurry()
            await in_flight.until_empty()
            for task in beside:
                task.cancel()

    async def _carry(
        self,
        collector: Collector,
        ledger: FencedLedger,
        attempt: OpenAttempt,
        found: bool,
        in_flight: InFlight,
    ) -> None:
        try:
            await collector.collect(attempt, found=found)
        except Draining:
            log.debug("attempt.left_open", attempt=attempt.attempt_id)
        except StoreRefused as error:
            log.error("attempt.refused", attempt=attempt.attempt_id, reason=str(error))
            # Whatever the database refuses about this one, the others go on. Where it cannot even be parked, the
            # sweep takes it on again in a minute.
            with suppress(StoreRefused):
                await ledger.park(attempt, "store_refused", times=attempt.parked_count + 1)
        finally:
            in_flight.discard(attempt.attempt_id)
            self._observer.in_flight(len(in_flight), in_flight.unanswered)

    async def _look(
        self,
        looker: Looker,
        ledger: FencedLedger,
        notice: PendingNotice,
        take_on: TakeOn,
        in_flight: InFlight,
    ) -> None:
        try:
            attempt = await looker.look(notice)
            if attempt is not None:
                take_on(attempt, found=True)  # the intent is final: it is to be read, and not confirmed
        except Draining:
            log.debug("notice.left_pending", notice=notice.notice_id)
        except StoreRefused as error:
            log.error("notice.refused", notice=notice.notice_id, reason=str(error))
            with suppress(StoreRefused):
                await ledger.park_notice(notice, times=notice.parked_count + 1)
        finally:
            in_flight.discard(notice.notice_id)
            self._observer.in_flight(len(in_flight), in_flight.unanswered)

    def _ledger(self, term: Term, trust: Trust, patience: Patience) -> FencedLedger:
        return FencedLedger(
            term,
            self._store,
            trust,
            self._policy,
            self._clock,
            self._uniform,
            self._observer,
            patience,
            batch_limit=self._limits.flush_batch,
            linger_s=self._limits.flush_linger_s,
        )

    def _calls(
        self, trust: Trust, draining: asyncio.Event, slots: Slots, *, is_full: Callable[[], bool]
    ) -> ProcessorCalls:
        return ProcessorCalls(
            self._processor,
            trust=trust,
            draining=draining,
            limiter=self._limiter,
            reach=self._reach,
            breaker=self._breaker,
            slots=slots,
            clock=self._clock,
            uniform=self._uniform,
            observer=self._observer,
            is_full=is_full,
        )


@asynccontextmanager
async def _first_error_alone() -> AsyncIterator[None]:
    """Raise the first of a group's errors by itself, so that the caller can match on it."""
    try:
        yield
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
