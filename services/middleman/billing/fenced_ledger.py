"""The writes of single attempts, gathered into fenced transactions."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from middleman.billing.batcher import Batcher, Failed
from middleman.billing.observer import BillingObserver
from middleman.billing.parking import ParkingPolicy
from middleman.billing.patience import Patience
from middleman.domain.attempts import AttemptStatus, DefiniteOutcome, settle
from middleman.domain.dunning import DunningPolicy
from middleman.domain.ids import AttemptId, PaymentIntentId
from middleman.ports.clock import Clock
from middleman.ports.errors import StaleTerm
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
    Standing,
    Store,
    StoreRefused,
    StoreUnavailable,
    UnknownAttempt,
)
from middleman.ports.term import Term
from middleman.ports.trust import Trust

log = structlog.get_logger(__name__)

ItemT = TypeVar("ItemT")
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
        self._binds = Batcher(
            _alone_where_refused(self._flush_bindings), limit=batch_limit, linger_s=linger_s
        )
        self._unknowns = Batcher(
            _alone_where_refused(self._flush_unknown), limit=batch_limit, linger_s=linger_s
        )
        self._settles = Batcher(
            _alone_where_refused(self._flush_settled), limit=batch_limit, linger_s=linger_s
        )
        self._heeds = Batcher(_alone_where_refused(self._flush_heeded), limit=batch_limit, linger_s=linger_s)
        self._keys = Batcher(_alone_where_refused(self._flush_keys), limit=batch_limit, linger_s=linger_s)
        self._parks = Batcher(_alone_where_refused(self._flush_parked), limit=batch_limit, linger_s=linger_s)
        self._notice_parks = Batcher(
            _alone_where_refused(self._flush_parked_notices), limit=batch_limit, linger_s=linger_s
        )

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
        for binding in bindings:
            if binding.invoice_id not in recorded:
                raise self._contradicted(binding.invoice_id, "the database has lost this invoice")
        return [recorded[binding.invoice_id] for binding in bindings]

    async def _flush_unknown(self, attempts: Sequence[UnknownAttempt]) -> Sequence[None]:
        named = [each.attempt_id for each in attempts]
        await self._write_about("unknown", named, lambda tx: tx.mark_unknown(attempts))
        return [None] * len(attempts)

    async def _flush_settled(self, settled: Sequence[SettledAttempt]) -> Sequence[None]:
        async def write(transaction: FencedTransaction) -> Mapping[AttemptId, Standing] | None:
            if await transaction.settle(settled) == len(settled):
                return None
            return await transaction.standings([each.attempt_id for each in settled])

        try:
            standings = await self._fenced("settle", len(settled), write)
        except StoreRefused:
            await self._explain_refusal(settled)
            raise
        if standings is not None:
            for each in settled:
                self._require_settled(each, standings.get(each.attempt_id))
        return [None] * len(settled)

    async def _flush_keys(self, keys: Sequence[NextKeys]) -> Sequence[None]:
        named = [each.attempt_id for each in keys]
        standings = await self._write_about("keys", named, lambda tx: tx.use_next_keys(keys))
        for attempt_id, standing in standings.items():
            if not standing.is_open:  # another request for it would be a second try of what is over
                raise self._contradicted(attempt_id, f"it is settled already, as {standing.status}")
        return [None] * len(keys)

    async def _flush_parked(self, parked: Sequence[ParkedAttempt]) -> Sequence[None]:
        named = [each.attempt_id for each in parked]
        await self._write_about("park", named, lambda tx: tx.park_attempts(parked))
        return [None] * len(parked)

    async def _flush_parked_notices(self, parked: Sequence[ParkedNotice]) -> Sequence[None]:
        await self._fenced("park_notice", len(parked), lambda tx: tx.park_notices(parked))
        return [None] * len(parked)

    async def _flush_heeded(self, looks: Sequence[Look]) -> Sequence[OpenAttempt | None]:
        # What a try without an answer has opened all the same is not told again: it is found by recovering.
        opened = await self._fenced("heed", len(looks), lambda tx: tx.heed(looks))
        return [opened.get(look.notice_id) for look in looks]

    async def _write_about(
        self, stage: str, named: Sequence[AttemptId], write: Callable[[FencedTransaction], Awaitable[None]]
    ) -> Mapping[AttemptId, Standing]:
        """Write about attempts that must be there; such a write changes no row when it is repeated. How they stand."""

        async def write_and_look(transaction: FencedTransaction) -> Mapping[AttemptId, Standing]:
            await write(transaction)
            return await transaction.standings(named)

        standings = await self._fenced(stage, len(named), write_and_look)
        for attempt_id in named:
            if attempt_id not in standings:
                raise self._contradicted(attempt_id, "the database has lost this attempt")
        return standings

    def _require_settled(self, wanted: SettledAttempt, found: Standing | None) -> None:
        """Settled with this very outcome is settled, by an earlier try whose answer was lost. All else is an error."""
        if found is None:
            raise self._contradicted(wanted.attempt_id, "the database has lost this attempt")
        if found.is_open:
            raise self._contradicted(wanted.attempt_id, "it is open although its outcome was written")
        asked = (wanted.settlement.attempt_status.value, wanted.outcome.charge_id)
        if (found.status, found.charge_id) != asked:
            raise self._contradicted(
                wanted.attempt_id,
                f"it is settled otherwise: as {found.status} with charge {found.charge_id},"
                f" not as {asked[0]} with charge {asked[1]}",
            )

    async def _explain_refusal(self, settled: Sequence[SettledAttempt]) -> None:
        """Raise StaleTerm where a refusal is the consequence of lost commits: a paid invoice must have its binding."""
        named = [each.attempt_id for each in settled]
        standings = await self._fenced("standings", len(named), lambda tx: tx.standings(named))
        for each in settled:
            found = standings.get(each.attempt_id)
            if found is None:
                raise self._contradicted(each.attempt_id, "the database has lost this attempt")
            is_paid = each.settlement.attempt_status is AttemptStatus.SUCCEEDED
            if is_paid and found.is_open and found.payment_intent_id is None:
                raise self._contradicted(each.attempt_id, "the database has lost the binding of its invoice")

    def _contradicted(self, subject: str, found: str) -> StaleTerm:
        """The term remembers what the database does not have: its successor begins with what is there."""
        log.error("ledger.contradicted", token=self._term.number, subject=subject, found=found)
        return StaleTerm(f"term {self._term.number} and the database differ about {subject}: {found}")

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


def _alone_where_refused(
    flush: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]],
) -> Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT | Failed]]]:
    """`flush`, but one item that the database refuses does not take the others of its batch down.

    After a refusal each item is written alone. One that is refused alone fails by itself; see `Pipeline`.
    """

    async def isolated(items: Sequence[ItemT]) -> Sequence[ResultT | Failed]:
        try:
            return await flush(items)
        except StoreRefused as error:
            if len(items) == 1:
                return [Failed(error)]
        results: list[ResultT | Failed] = []
        for item in items:
            results += await isolated([item])
        return results

    return isolated
