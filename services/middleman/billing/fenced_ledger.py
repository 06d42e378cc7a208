"""The writes of single attempts, gathered into fenced transactions."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import structlog

from middleman.billing.batcher import Batcher
from middleman.billing.observer import BillingObserver
from middleman.billing.parking import ParkingPolicy
from middleman.billing.patience import Patience
from middleman.domain.attempts import DefiniteOutcome, settle
from middleman.domain.dunning import DunningPolicy
from middleman.domain.ids import PaymentIntentId
from middleman.ports.clock import Clock
from middleman.ports.store import (
    Binding,
    FencedTransaction,
    Look,
    NextKeys,
    OpenAttempt,
    ParkedAttempt,
    ParkedNotice,
    PendingNotice,
    SettledAttempt,
    Store,
    StoreUnavailable,
    UnknownAttempt,
)
from middleman.ports.term import Term
from middleman.ports.trust import Trust

log = structlog.get_logger(__name__)

ResultT = TypeVar("ResultT")

_RETRY_INITIAL_S = 0.05
_RETRY_MAX_S = 1.0


class FencedLedger:
    """`Ledger` for one term: each kind of write through a batcher of its own."""

    def __init__(
        self,
        term: Term,
        store: Store,
        trust: Trust,
        policy: DunningPolicy,
        clock: Clock,
        uniform: Callable[[], float],
        observer: BillingObserver,
        patience: Patience,
        *,
        batch_limit: int,
        linger_s: float,
        parking: ParkingPolicy | None = None,
    ) -> None:
        self._parking = parking or ParkingPolicy()
        self._term = term
        self._store = store
        self._trust = trust
        self._policy = policy
        self._clock = clock
        self._uniform = uniform
        self._observer = observer
        self._patience = patience
        self._binds = Batcher(self._flush_bindings, limit=batch_limit, linger_s=linger_s)
        self._unknowns = Batcher(self._flush_unknown, limit=batch_limit, linger_s=linger_s)
        self._settles = Batcher(self._flush_settled, limit=batch_limit, linger_s=linger_s)
        self._heeds = Batcher(self._flush_heeded, limit=batch_limit, linger_s=linger_s)
        self._keys = Batcher(self._flush_keys, limit=batch_limit, linger_s=linger_s)
        self._parks = Batcher(self._flush_parked, limit=batch_limit, linger_s=linger_s)
        self._notice_parks = Batcher(self._flush_parked_notices, limit=batch_limit, linger_s=linger_s)

    @property
    def runs(self) -> Sequence[Callable[[], Coroutine[None, None, None]]]:
        """What has to run, as tasks, while the ledger is used."""
        return tuple(batcher.run for batcher in self._batchers)

    def hurry(self) -> None:
        """Write at once what comes from now on: the term is about to end, and its successor waits."""
        for batcher in self._batchers:
            batcher.hurry()

    async def bind(self, attempt: OpenAttempt, intent_id: PaymentIntentId) -> PaymentIntentId:
        """See `middleman.billing.collect.Ledger.bind`."""
        return await self._binds.submit(Binding(attempt.invoice_id, intent_id))

    async def mark_unknown(self, attempt: OpenAttempt, reason: str) -> None:
        """See `middleman.billing.collect.Ledger.mark_unknown`."""
        self._observer.became_unknown(reason)
        await self._unknowns.submit(UnknownAttempt(attempt.attempt_id, reason))

    async def park(self, attempt: OpenAttempt, reason: str, *, times: int) -> None:
        """See `middleman.billing.collect.Ledger.park`."""
        parked_s = self._parked_s(times)
        facts = {"attempt": attempt.attempt_id, "reason": reason, "times": times, "parked_s": parked_s}
        if attempt.parked_count == 0:
            log.warning("attempt.parked", **facts)
        else:
            log.info("attempt.parked", **facts)
        await self._parks.submit(ParkedAttempt(attempt.attempt_id, reason, times, parked_s))
        self._observer.parked(reason)

    async def park_notice(self, notice: PendingNotice, *, times: int) -> None:
        """See `middleman.billing.noticing.NoticeLedger.park_notice`."""
        parked_s = self._parked_s(times)
        log.info("notice.parked", notice=notice.notice_id, times=times, parked_s=parked_s)
        await self._notice_parks.submit(ParkedNotice(notice.notice_id, times, parked_s))

    async def use_next_keys(self, attempt: OpenAttempt) -> None:
        """See `middleman.billing.collect.Ledger.use_next_keys`."""
        log.warning(
            "attempt.key_renewed",
            attempt=attempt.attempt_id,
            create_key_no=attempt.create_key_no,
            confirm_key_no=attempt.confirm_key_no,
        )
        await self._keys.submit(
            NextKeys(attempt.attempt_id, attempt.invoice_id, attempt.create_key_no, attempt.confirm_key_no)
        )

    async def settle(self, attempt: OpenAttempt, outcome: DefiniteOutcome) -> None:
        """See `middleman.billing.collect.Ledger.settle`."""
        settlement = settle(outcome, attempt_no=attempt.attempt_no, policy=self._policy)
        await self._settles.submit(SettledAttempt(attempt.attempt_id, outcome, settlement))
        self._observer.settled(settlement.attempt_status.value)

    async def heed(self, look: Look) -> OpenAttempt | None:
        """See `middleman.billing.noticing.NoticeLedger.heed`."""
        return await self._heeds.submit(look)

    @property
    def _batchers(self) -> tuple[Batcher[Any, Any], ...]:
        return (
            self._binds,
            self._unknowns,
            self._settles,
            self._heeds,
            self._keys,
            self._parks,
            self._notice_parks,
        )

    def _parked_s(self, times: int) -> float:
        """Spread by chance, so that what was parked together is not due together."""
        return round(self._parking.parked_s(times) * (0.75 + self._uniform() / 2), 3)

    async def _flush_bindings(self, bindings: Sequence[Binding]) -> Sequence[PaymentIntentId]:
        recorded = await self._fenced("bind", len(bindings), lambda tx: tx.bind(bindings))
        return [recorded[binding.invoice_id] for binding in bindings]

    async def _flush_unknown(self, attempts: Sequence[UnknownAttempt]) -> Sequence[None]:
        await self._fenced("unknown", len(attempts), lambda tx: tx.mark_unknown(attempts))
        return [None] * len(attempts)

    async def _flush_settled(self, settled: Sequence[SettledAttempt]) -> Sequence[None]:
        await self._fenced("settle", len(settled), lambda tx: tx.settle(settled))
        return [None] * len(settled)

    async def _flush_keys(self, keys: Sequence[NextKeys]) -> Sequence[None]:
        await self._fenced("keys", len(keys), lambda tx: tx.use_next_keys(keys))
        return [None] * len(keys)

    async def _flush_parked(self, parked: Sequence[ParkedAttempt]) -> Sequence[None]:
        await self._fenced("park", len(parked), lambda tx: tx.park_attempts(parked))
        return [None] * len(parked)

    async def _flush_parked_notices(self, parked: Sequence[ParkedNotice]) -> Sequence[None]:
        await self._fenced("park_notice", len(parked), lambda tx: tx.park_notices(parked))
        return [None] * len(parked)

    async def _flush_heeded(self, looks: Sequence[Look]) -> Sequence[OpenAttempt | None]:
        # What a try without an answer has opened all the same is not told again: it is found by recovering.
        opened = await self._fenced("heed", len(looks), lambda tx: tx.heed(looks))
        return [opened.get(look.notice_id) for look in looks]

    async def _fenced(
        self, stage: str, items: int, write: Callable[[FencedTransaction], Awaitable[ResultT]]
    ) -> ResultT:
        """One transaction, repeated while the database is away and this replica is trusted."""
        pause_s = _RETRY_INITIAL_S
        while True:
            started_s = self._clock.boottime_s()
            try:
                async with self._patience.transaction(self._store, self._term) as transaction:
                    result = await write(transaction)
            except StoreUnavailable as error:
                self._observer.store_unavailable()
                log.warning("store.unavailable", stage=stage, items=items, error=str(error))
                self._trust.require()
                self._patience.unanswered(error)
                await self._clock.sleep(pause_s * (0.5 + self._uniform() / 2))
                pause_s = min(pause_s * 2, _RETRY_MAX_S)
                continue
            self._observer.flushed(stage, items, self._clock.boottime_s() - started_s)
            return result
