"""Where work comes from: first what a predecessor left open, then what has fallen due, or was told of."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from middleman.billing.breaker import Breaker
from middleman.billing.clock_check import ClocksApart
from middleman.billing.draining import done_before, drains_within
from middleman.billing.due import DueClaims
from middleman.billing.in_flight import InFlight
from middleman.billing.observer import BillingObserver
from middleman.billing.parked_work import ParkedWork
from middleman.billing.patience import Patience
from middleman.ports.clock import Clock
from middleman.ports.failpoints import Failpoints
from middleman.ports.store import Claim, OpenAttempt, PendingNotice, Store, StoreUnavailable
from middleman.ports.term import Term
from middleman.ports.trust import Trust

log = structlog.get_logger(__name__)

_RETRY_MAX_S = 1.0
# A term's first attempts, found or claimed, go ahead of the crowd: the first charge does not queue behind hundreds of
# others, and a leader that gets through to nobody has opened a handful of attempts and not hundreds.
_FIRST_BATCH = 2
_FIRST_PATIENCE_S = 0.25
# One in so many of each claim is kept for retries and for what webhooks told of: new periods may be due for hours on end.
_RESERVED_ONE_IN = 10


class TakeOn(Protocol):
    """Starts to carry an attempt; `found`: a predecessor may have confirmed it already."""

    def __call__(self, attempt: OpenAttempt, found: bool) -> None: ...


class LookInto(Protocol):
    """Starts to look into a notice, unless somebody does already."""

    def __call__(self, notice: PendingNotice) -> None: ...


@dataclass(frozen=True, slots=True)
class Claimer:
    """Feeds the pipeline for one term."""

    term: Term
    trust: Trust
    draining: asyncio.Event
    store: Store
    due: DueClaims
    in_flight: InFlight
    breaker: Breaker
    take_on: TakeOn
    look_into: LookInto
    clock: Clock
    uniform: Callable[[], float]
    failpoints: Failpoints
    observer: BillingObserver
    patience: Patience
    parked: ParkedWork
    batch: int
    claim_room: int
    idle_poll_s: float
    sweep_interval_s: float = 60.0

    async def run(self) -> None:
        """Recover, then claim, until draining.

        A claim whose transaction got no answer may have committed: what it opened is found by recovering
        again, so nothing is claimed before that.

        Raises:
            StaleTerm, TrustLost: stand down.
            StoreUnavailable: the database has been away for longer than patience lasts.
        """
        pause_s = self.idle_poll_s
        recovered = False
        first = True
        looked_at_s = self.clock.boottime_s()
        while not self.draining.is_set():
            self.trust.require()
            try:
                if not recovered:
                    await self._recover()
                    recovered, looked_at_s = True, self.clock.boottime_s()
                elif self.clock.boottime_s() - looked_at_s >= self.sweep_interval_s:
                    await self._sweep()
                    looked_at_s = self.clock.boottime_s()
                batch = min(_FIRST_BATCH, self.batch) if first else self.batch
                more = await self._claim_if_clocks_agree(batch)
                await self._try_parked()  # after the claim: a new leader's first charge waits for nothing
            except StoreUnavailable as error:
                recovered = False
                self.observer.store_unavailable()
                log.warning("store.unavailable", stage="claim", error=str(error))
                self.patience.unanswered(error)
                await self._pause(pause_s)
                pause_s = min(pause_s * 2, _RETRY_MAX_S)
                continue
            pause_s = self.idle_poll_s
            if not more and self.in_flight.room:
                await self._pause(self.idle_poll_s)
            elif first:
                await self._see_one_through()
            first = False

    async def _recover(self) -> None:
        """Take on every open attempt that nobody carries, oldest first, and see each of them through once."""
        started_s = self.clock.boottime_s()
        found = 0
        last = None
        while not self.draining.is_set():
            await done_before(self.draining, self.in_flight.until_room(self.batch))
            async with self.patience.transaction(self.store, self.term) as transaction:
                page = await transaction.open_attempts(last, self.batch)
            ahead = _FIRST_BATCH if found == 0 and len(page) > _FIRST_BATCH else len(page)
            for attempt in page[:ahead]:
                self.take_on(attempt, found=True)
            if ahead < len(page):
                await self._see_one_through()
            for attempt in page[ahead:]:
                self.take_on(attempt, found=True)
            found += len(page)
            if len(page) < self.batch:
                break
            last = page[-1].attempt_id
        # Recovery before new work (DESIGN §2.8). An attempt whose outcome stays unknown does not hold up the
        # rest: it stays open, and while it is open nothing new can be tried for its invoice.
        await done_before(self.draining, self.in_flight.until_only_deferred())
        took_s = self.clock.boottime_s() - started_s
        self.observer.recovered(found, took_s)
        log.info("recovery.finished", token=self.term.number, attempts=found, took_s=round(took_s, 4))

    async def _see_one_through(self) -> None:
        """Wait until one attempt is settled, or all that are carried are deferred; not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FIRST_PATIENCE_S):
                await done_before(self.draining, self.in_flight.until_first_end())

    async def _sweep(self) -> None:
        """Take on open attempts that nobody carries, as far as there is room, and wait for none of them.

        A claim whose commit was in doubt may have committed after recovery had looked. Without this its
        periods would wait for the next term.
        """
        last = None
        while self.in_flight.room and not self.draining.is_set():
            carried = self.in_flight.ids()  # before the page is read: what it shows may be settled by its end
            async with self.patience.transaction(self.store, self.term) as transaction:
                page = await transaction.open_attempts(last, self.batch)
            for attempt in page:
                if attempt.attempt_id not in carried:
                    log.warning("attempt.stranded", attempt=attempt.attempt_id)
                    self.take_on(attempt, found=True)
            if len(page) < self.batch:
                return
            last = page[-1].attempt_id

    async def _try_parked(self) -> None:
        """Take on parked attempts and notices that are due for a try, as far as their budget goes."""
        limit = self.parked.allowed(self.in_flight.ids(), self.in_flight.room)
        if not limit:
            return
        async with self.patience.transaction(self.store, self.term) as transaction:
            attempts, notices = await self.parked.due(transaction, limit)
        self.parked.took(attempts, notices)
        for attempt in attempts:
            self.take_on(attempt, found=True)
        for notice in notices:
            self.look_into(notice)

    async def _claim_if_clocks_agree(self, batch: int) -> bool:
        """As `_claim`; while the clocks are apart, look into notices and claim nothing (ADR 0023)."""
        try:
            return await self._claim(batch)
        except ClocksApart:
            return await self._claim_while_paused(max(1, min(batch, self.in_flight.room)), 0)

    async def _claim(self, batch: int) -> bool:
        """Claim what is due, as far as there is room; returns whether more may be due already."""
        await done_before(self.draining, self.in_flight.until_room(min(self.claim_room, batch)))
        if self.draining.is_set():
            return False
        await self.failpoints.hit("before_claim")
        limit = min(batch, self.in_flight.room)
        claimable = self.breaker.admit_claims(limit)
        if claimable < limit:
            return await self._claim_while_paused(limit, claimable)
        reserved = (
            0 if batch < self.batch else max(1, limit // _RESERVED_ONE_IN)
        )  # a term's first batch is all for periods
        due_limit = max(1, limit - reserved)
        due = await self.due.claim(due_limit, end_limit=self.batch)
        await self._start(due)
        opened = len(due.attempts)
        if opened == limit:
            return True
        retries, notices = await self.due.claim_retries(limit - opened)
        await self._start(retries)
        for notice in notices:
            self.look_into(notice)
        return opened + len(due.held) == due_limit or opened + len(retries.attempts) == limit

    async def _claim_while_paused(self, limit: int, claimable: int) -> bool:
        """The breaker is open: look into notices as ever, and claim one attempt where a probe needs one."""
        async with self.patience.transaction(self.store, self.term) as transaction:
            notices = await transaction.pending_notices(limit)
        for notice in notices:
            self.look_into(notice)
        if claimable:
            due = await self.due.claim(claimable, end_limit=self.batch)
            await self._start(due)
            if not due.attempts:
                retries, more_notices = await self.due.claim_retries(claimable)
                await self._start(retries)
                for notice in more_notices:
                    self.look_into(notice)
        return False

    async def _start(self, claim: Claim) -> None:
        """Carry what was claimed; the transaction that opened it has committed."""
        if not claim.attempts:
            return
        await self.failpoints.hit("after_claim")
        for attempt in claim.attempts:
            self.take_on(attempt, found=False)
        self.observer.in_flight(len(self.in_flight), self.in_flight.unanswered)

    async def _pause(self, pause_s: float) -> None:
        """Wait, spread by chance, or until draining."""
        await drains_within(self.draining, pause_s * (0.5 + self.uniform() / 2))
