"""Calls to the processor as the leader makes them: limited, trusted, and never after draining began."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from middleman.billing.draining import done_before, drains_within
from middleman.billing.observer import BillingObserver
from middleman.billing.pace import Slots
from middleman.billing.rate_limit import MAX_HOLD_S, RateLimiter
from middleman.billing.reach import ProcessorReach
from middleman.domain.attempts import Declined, RequiresAction, Succeeded, Unknown
from middleman.domain.ids import PaymentIntentId
from middleman.domain.intents import IntentSnapshot
from middleman.ports.clock import Clock
from middleman.ports.processor import (
    ACCOUNT_RATE_LIMITED,
    NOTHING_CAME_BACK,
    RATE_LIMITED,
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


class Draining(Exception):
    """The replica is going: no call starts any more, and what is open is left to the successor."""


class Pauses:
    """Growing pauses between tries, ended at once by draining."""

    def __init__(
        self,
        draining: asyncio.Event,
        uniform: Callable[[], float],
        initial_s: float,
        max_s: float,
        on_pause: Callable[[], None],
    ) -> None:
        self._draining = draining
        self._on_pause = on_pause
        self._uniform = uniform
        self._next_s = initial_s
        self._max_s = max_s

    async def wait(self, at_least_s: float | None = None) -> None:
        """Wait for the next pause, or longer where the processor asked for it, up to `MAX_HOLD_S`.

        Raises:
            Draining: the replica drains; there will be no further try.
        """
        self._on_pause()
        pause_s = max(self._next_s * (0.5 + self._uniform() / 2), min(at_least_s or 0.0, MAX_HOLD_S))
        self._next_s = min(self._next_s * 2, self._max_s)
        if await drains_within(self._draining, pause_s):
            raise Draining


class ProcessorCalls:
    """The processor behind a bound on concurrency, a rate limit per endpoint, and the leader's trust.

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
        slots: Slots,
        clock: Clock,
        uniform: Callable[[], float],
        observer: BillingObserver,
        retry_initial_s: float = 0.05,
        retry_max_s: float = 5.0,
    ) -> None:
        self._processor = processor
        self._trust = trust
        self._draining = draining
        self._limiter = limiter
        self._reach = reach
        self._slots = slots
        self._clock = clock
        self._uniform = uniform
        self._observer = observer
        self._retry_s = (retry_initial_s, retry_max_s)

    def pauses(self, on_pause: Callable[[], None]) -> Pauses:
        """The pauses between the tries of one request; `on_pause` is called at the start of each."""
        return Pauses(self._draining, self._uniform, *self._retry_s, on_pause)

    async def create(
        self, request: CreateIntent, *, repeat: bool
    ) -> Created | Refused | OperatorFault | Unknown | NotSent:
        """Create a payment intent, unconfirmed; `repeat`: the same request may have been sent before."""
        guard = self._trust.require
        return await self._call(
            "create", lambda: self._processor.create_intent(request, repeat=repeat, guard=guard)
        )

    async def confirm(
        self, request: ConfirmIntent, *, repeat: bool
    ) -> Succeeded | Declined | RequiresAction | Refused | OperatorFault | Unknown | NotSent:
        """Confirm a payment intent; `repeat`: the same request may have been sent before."""
        guard = self._trust.require
        return await self._call(
            "confirm", lambda: self._processor.confirm_intent(request, repeat=repeat, guard=guard)
        )

    async def read(
        self, intent_id: PaymentIntentId
    ) -> IntentSnapshot | Missing | OperatorFault | Unknown | NotSent:
        """Read a payment intent."""
        guard = self._trust.require
        return await self._call("read", lambda: self._processor.read_intent(intent_id, guard=guard))

    async def find_created(self, request: CreateIntent, name: str) -> PaymentIntentId | None:
        """The customer's newest intent whose metadata `name` is that of `request`; None: not found or no answer.

        Lists are consistent, unlike search (https://docs.stripe.com/search#data-freshness).
        """
        after: PaymentIntentId | None = None
        for _ in range(_LISTED_PAGES):
            wanted = ListIntents(customer_id=request.customer_id, after=after)
            page = await self._call("list", partial(self._processor.list_intents, wanted))
            if not isinstance(page, IntentPage):
                return None
            for intent in page.intents:
                if intent.metadata.get(name) == request.metadata[name]:
                    return intent.intent_id
            if not page.has_more or not page.intents:
                return None
            after = page.intents[-1].intent_id
        return None

    async def _call(self, step: str, call: Callable[[], Awaitable[AnswerT]]) -> AnswerT:
        await self._turn(step)
        async with self._slots:
            if self._draining.is_set():
                raise Draining
            self._trust.require()
            started_s = self._clock.boottime_s()
            answer = await call()
            took_s = self._clock.boottime_s() - started_s
        self._observer.called(step, type(answer).__name__, took_s)
        if isinstance(answer, NotSent | Unknown) and answer.reason in (RATE_LIMITED, ACCOUNT_RATE_LIMITED):
            self._limiter.throttled(step, answer.retry_after_s if isinstance(answer, NotSent) else None)
        else:
            self._limiter.passed(step)
        if not isinstance(answer, NotSent | Unknown) or answer.reason not in NOTHING_CAME_BACK:
            self._reach.heard()
        elif not self._draining.is_set():  # who is leaving anyway need not give up
            self._reach.unheard(started_s, answer.reason)
        return answer

    async def _turn(self, step: str) -> None:
        """Wait for the rate limit. Its queue may be long, so draining ends the wait."""
        if self._draining.is_set():
            raise Draining
        if self._limiter.rate_per_s(step) is None:
            await self._limiter.acquire(step)
            return
        if not await done_before(self._draining, self._limiter.acquire(step)):
            raise Draining
