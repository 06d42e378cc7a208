"""Calls to the processor as the leader makes them: limited, trusted, and never after draining began."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from middleman.billing.breaker import Breaker, Wait
from middleman.billing.draining import done_before, drains_within
from middleman.billing.observer import BillingObserver
from middleman.billing.pace import Slots
from middleman.billing.parking import Answers, ParkingPolicy
from middleman.billing.rate_limit import MAX_HOLD_S, RateLimiter
from middleman.billing.reach import ProcessorReach
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import PaymentIntentId
from middleman.domain.intents import IntentSnapshot
from middleman.ports.clock import Clock
from middleman.ports.processor import (
    ACCOUNT_RATE_LIMITED,
    NOTHING_CAME_BACK,
    PAUSED,
    RATE_LIMITED,
    REMEMBERED_FAILURE,
    ConfirmIntent,
    Created,
    CreateIntent,
    IntentPage,
    ListIntents,
    Missing,
    NotSent,
    OperatorFault,
    PaymentProcessor,
    Refused,
)
from middleman.ports.trust import Trust

AnswerT = TypeVar("AnswerT", bound=object)

# The pages of a customer's intents that are searched, newest first: the one wanted was created lately.
_LISTED_PAGES = 5


@dataclass(frozen=True, slots=True)
class NotListed:
    """The processor lists no such payment intent."""


class Draining(Exception):
    """The replica is going: no call starts any more, and what is open is left to the successor."""


def is_stored(answer: object) -> bool:
    """Whether the processor gives this failure under the same key again, for a day, whatever has changed since."""
    match answer:
        case Unknown() as unknown:
            return unknown.reason == REMEMBERED_FAILURE
        case (Refused() | OperatorFault()) as refused:
            return refused.replayed
        case _:
            return False


class NoAnswer(Exception):
    """The request waits no longer in its slot: it is to be parked (`middleman.billing.parking`).

    `reason` is that of the last `Unknown` or `NotSent`. `is_its_own`: others are answered meanwhile.
    """

    def __init__(self, reason: str, *, is_its_own: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_its_own = is_its_own


class Pauses:
    """Growing pauses between the tries of one request, ended at once by draining."""

    def __init__(
        self,
        draining: asyncio.Event,
        clock: Clock,
        uniform: Callable[[], float],
        initial_s: float,
        max_s: float,
        answers: Answers,
        policy: ParkingPolicy,
        *,
        on_pause: Callable[[], None],
        is_full: Callable[[], bool],
        was_parked: bool,
    ) -> None:
        self._draining = draining
        self._clock = clock
        self._uniform = uniform
        self._next_s = initial_s
        self._max_s = max_s
        self._answers = answers
        self._policy = policy
        self._on_pause = on_pause
        self._is_full = is_full
        self._was_parked = was_parked
        self._began_s = self._failed_at_s = clock.boottime_s()
        self._tries = 0

    async def wait(self, step: str, unanswered: Unknown | NotSent | OperatorFault) -> None:
        """Wait for the next pause, or longer where the processor asked for it, up to `MAX_HOLD_S`.

        `unanswered` is what the last try of `step` came to.

        Raises:
            Draining: the replica drains; there will be no further try.
            NoAnswer: the next try is not made from this slot.
        """
        self._on_pause()
        self._park_where_due(
            step, unanswered.code if isinstance(unanswered, OperatorFault) else unanswered.reason
        )
        asked_s = (unanswered.retry_after_s if isinstance(unanswered, NotSent) else None) or 0.0
        pause_s = max(self._next_s * (0.5 + self._uniform() / 2), min(asked_s, MAX_HOLD_S))
        self._next_s = min(self._next_s * 2, self._max_s)
        if await drains_within(self._draining, pause_s):
            raise Draining

    def _park_where_due(self, step: str, reason: str) -> None:
        now_s = self._clock.boottime_s()
        is_its_own = self._answers.others_are_answered(step, reason, self._failed_at_s)
        self._failed_at_s = now_s
        self._tries += 1
        if self._was_parked:
            raise NoAnswer(reason, is_its_own=is_its_own)
        if self._policy.is_patient(self._tries, now_s - self._began_s):
            return
        if is_its_own or (self._is_full() and self._answers.may_make_room(reason)):
            raise NoAnswer(reason, is_its_own=is_its_own)


class ProcessorCalls:
    """The processor behind a breaker, a bound on concurrency, a rate limit, and the leader's trust.

    While the breaker is open, `create` and `confirm` answer `NotSent(PAUSED)` at once: nobody waits inside a call.

    Every call may raise `ProcessorUnreachable`: nothing has come back for so long that another replica should try.
    """

    def __init__(
        self,
        processor: PaymentProcessor,
        *,
        trust: Trust,
        draining: asyncio.Event,
        limiter: RateLimiter,
        reach: ProcessorReach,
        breaker: Breaker,
        slots: Slots,
        clock: Clock,
        uniform: Callable[[], float],
        observer: BillingObserver,
        is_full: Callable[[], bool] = lambda: False,
        parking: ParkingPolicy | None = None,
        retry_initial_s: float = 0.05,
        retry_max_s: float = 5.0,
    ) -> None:
        """`is_full`: no more requests fit into the leader, so that one of them may have to make room."""
        self._processor = processor
        self._trust = trust
        self._draining = draining
        self._limiter = limiter
        self._reach = reach
        self._breaker = breaker
        self._slots = slots
        self._clock = clock
        self._uniform = uniform
        self._observer = observer
        self._is_full = is_full
        self._parking = parking or ParkingPolicy()
        self._answers = Answers(clock, self._parking)
        self._retry_s = (retry_initial_s, retry_max_s)

    def pauses(self, on_pause: Callable[[], None], *, was_parked: bool = False) -> Pauses:
        """The pauses between the tries of one request; `on_pause` is called at the start of each.

        A request that `was_parked` gets one try.
        """
        return Pauses(
            self._draining,
            self._clock,
            self._uniform,
            *self._retry_s,
            self._answers,
            self._parking,
            on_pause=on_pause,
            is_full=self._is_full,
            was_parked=was_parked,
        )

    async def create(
        self, request: CreateIntent, *, repeat: bool
    ) -> Created | Refused | OperatorFault | Unknown | NotSent:
        """Create a payment intent, unconfirmed; `repeat`: the same request may have been sent before."""
        guard = self._trust.require
        return await self._call(
            "create",
            request.customer_id,
            lambda: self._processor.create_intent(request, repeat=repeat, guard=guard),
        )

    async def confirm(
        self, request: ConfirmIntent, *, repeat: bool
    ) -> Succeeded | Declined | RequiresAction | Refused | OperatorFault | Unknown | NotSent:
        """Confirm a payment intent; `repeat`: the same request may have been sent before."""
        guard = self._trust.require
        return await self._call(
            "confirm",
            request.intent_id,
            lambda: self._processor.confirm_intent(request, repeat=repeat, guard=guard),
        )

    async def read(
        self, intent_id: PaymentIntentId
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
        """Read a payment intent."""
        guard = self._trust.require
        return await self._call(
            "read", intent_id, lambda: self._processor.read_intent(intent_id, guard=guard)
        )

    async def find_created(self, request: CreateIntent, name: str) -> PaymentIntentId | NotListed | None:
        """The customer's newest intent whose metadata `name` is that of `request`; None where no answer is certain.

        Lists are consistent, unlike search (https://docs.stripe.com/search#data-freshness).
        """
        after: PaymentIntentId | None = None
        for _ in range(_LISTED_PAGES):
            wanted = ListIntents(customer_id=request.customer_id, after=after)
            page = await self._call(
                "list", request.customer_id, partial(self._processor.list_intents, wanted)
            )
            if not isinstance(page, IntentPage):
                return None
            for intent in page.intents:
                if intent.metadata.get(name) == request.metadata[name]:
                    return intent.intent_id
            if not page.has_more or not page.intents:
                return NotListed()
            after = page.intents[-1].intent_id
        return None

    async def _call(
        self, step: str, subject: str, call: Callable[[], Awaitable[AnswerT]]
    ) -> AnswerT | NotSent:
        if self._draining.is_set():
            raise Draining
        go = self._breaker.admit(step)
        if isinstance(go, Wait):
            return NotSent(PAUSED, go.for_s)
        await self._turn(step)
        async with self._slots:
            if self._draining.is_set():
                raise Draining
            self._trust.require()
            started_s = self._clock.boottime_s()
            answer = await call()
            took_s = self._clock.boottime_s() - started_s
        self._observer.called(step, type(answer).__name__, took_s)
        self._breaker.answered(step, subject, answer, go)
        if not isinstance(answer, NotSent | Unknown | OperatorFault) or is_stored(answer):
            self._answers.answered(step)
        self._heed_rate_limit(step, answer)
        if not isinstance(answer, NotSent | Unknown) or answer.reason not in NOTHING_CAME_BACK:
            self._reach.heard()
        elif not self._draining.is_set():  # who is leaving anyway need not give up
            self._reach.unheard(started_s, answer.reason)
        return answer

    def _heed_rate_limit(self, step: str, answer: object) -> None:
        """Slow down what a 429 was for. One that was for a single object (`OBJECT_BUSY`) slows nothing else down."""
        reason = answer.reason if isinstance(answer, NotSent | Unknown) else None
        retry_after_s = answer.retry_after_s if isinstance(answer, NotSent) else None
        if reason == RATE_LIMITED:
            self._limiter.throttled(step, retry_after_s)
        elif reason == ACCOUNT_RATE_LIMITED:
            self._limiter.account_throttled(retry_after_s)
        else:
            self._limiter.passed(step)

    async def _turn(self, step: str) -> None:
        """Wait for the rate limit. Its queue may be long, so draining ends the wait."""
        if self._draining.is_set():
            raise Draining
        if self._limiter.rate_per_s(step) is None:
            await self._limiter.acquire(step)
            return
        if not await done_before(self._draining, self._limiter.acquire(step)):
            raise Draining
