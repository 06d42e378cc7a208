"""A `Store` in memory, whose transactions can be made to fail before or after their commit."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from middleman.domain.ids import AttemptId, InvoiceId, NoticeId, PaymentIntentId, SubscriptionId
from middleman.ports.clock import ClockReading
from middleman.ports.store import (
    Binding,
    Claim,
    Finding,
    Look,
    NextKeys,
    OpenAttempt,
    ParkedAttempt,
    ParkedNotice,
    PendingNotice,
    SetAside,
    SettledAttempt,
    Standing,
    StoreRefused,
    StoreUnavailable,
    UnknownAttempt,
)
from middleman.ports.term import Term


@dataclass(slots=True)
class MemoryStore:
    """A `Store` that holds due attempts and open ones, and `notices` with the attempt that heeding each would open.

    `fail` makes transactions of a kind unavailable. A kind is the first statement's name; `"commit"` fails after the
    work was done, so that it *has* committed. Subscriptions that are `odd` cannot be billed;
    `starts` tells when the periods of those that matter began. Transactions that begin
    while it `answers_after_s` wait for so long.
    """

    due: deque[OpenAttempt] = field(default_factory=deque)
    retries: deque[OpenAttempt] = field(default_factory=deque)
    open: dict[AttemptId, OpenAttempt] = field(default_factory=dict)
    journal: list[str] = field(default_factory=list)
    fail: dict[str, int] = field(default_factory=dict)
    settled: list[SettledAttempt] = field(default_factory=list)
    bound: dict[InvoiceId, PaymentIntentId] = field(default_factory=dict)
    unknown: list[UnknownAttempt] = field(default_factory=list)
    notices: dict[NoticeId, tuple[PendingNotice, OpenAttempt]] = field(default_factory=dict)
    heeded: list[Look] = field(default_factory=list)
    odd: set[SubscriptionId] = field(default_factory=set)
    set_aside_retries: int = 0
    foresees: bool = True  # `set_aside_due` finds the odd ones
    odd_retries: set[InvoiceId] = field(default_factory=set)
    set_aside: set[SubscriptionId] = field(default_factory=set)
    blocked: list[OpenAttempt] = field(default_factory=list)  # due, behind a period that is being charged
    starts: dict[SubscriptionId, datetime] = field(default_factory=dict)
    parked: list[AttemptId] = field(default_factory=list)  # open, and due for a try
    parks: list[ParkedAttempt] = field(default_factory=list)
    notice_parks: list[ParkedNotice] = field(default_factory=list)
    keys: list[NextKeys] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)  # attempts and invoices that a failover has lost
    refuses: set[str] = field(default_factory=set)
    raises: BaseException | None = None
    answers_after_s: float = 0.0
    clock_ahead_s: float = 0.0

    @asynccontextmanager
    async def fenced(self, term: Term) -> AsyncIterator["MemoryTransaction"]:
        await asyncio.sleep(self.answers_after_s)
        if self.raises is not None:
            raise self.raises
        yield MemoryTransaction(self)
        await asyncio.sleep(0)
        self.refuse("commit")

    def refuse(self, kind: str) -> None:
        if kind in self.refuses:
            raise StoreRefused(f"{kind}: violates a constraint")
        if self.fail.get(kind, 0) > 0:
            self.fail[kind] -= 1
            raise StoreUnavailable(f"{kind}: no answer")


@dataclass(slots=True)
class MemoryTransaction:
    """See `middleman.ports.store.FencedTransaction`."""

    store: MemoryStore

    @property
    def clock(self) -> ClockReading:
        now_s = asyncio.get_running_loop().time()
        return ClockReading(now_s + self.store.clock_ahead_s, now_s, now_s)

    async def end_subscriptions(self, limit: int) -> int:
        return 0

    async def claim_due(self, limit: int, max_overdue: int, not_before: datetime | None = None) -> Claim:
        starts = self.store.starts
        early = {each for each, start in starts.items() if not_before is not None and start < not_before}
        left = {*self.store.set_aside, *early}
        self._refuse_odd_ones([each for each in self.store.due if each.subscription_id not in left][:limit])
        return self._claim("claim_due", self.store.due, limit, left)

    async def oldest_due(self) -> datetime | None:
        due = [*self.store.due, *self.store.blocked]
        found = (self.store.starts.get(each.subscription_id) for each in due)
        return min((start for start in found if start), default=None)

    async def claim_period_of(self, subscription_id: SubscriptionId, max_overdue: int) -> Claim:
        self._refuse_odd_ones([each for each in self.store.due if each.subscription_id == subscription_id])
        others = {each.subscription_id for each in self.store.due} - {subscription_id}
        return self._claim("claim_period_of", self.store.due, 1, others)

    async def due_subscriptions(self, limit: int) -> Sequence[SubscriptionId]:
        due = [each.subscription_id for each in self.store.due]
        return [each for each in due if each not in self.store.set_aside][:limit]

    async def set_aside_due(self, limit: int) -> Sequence[SetAside]:
        due = await self.due_subscriptions(limit)
        odd = [each for each in due if self.store.foresees and each in self.store.odd]
        self.store.set_aside |= set(odd)
        return [SetAside(each, "time zone not recognized") for each in odd]

    async def set_aside(self, subscription_id: SubscriptionId, reason: str) -> None:
        self.store.set_aside.add(subscription_id)

    async def retry_set_aside(self, limit: int) -> None:
        self.store.set_aside_retries += 1

    async def due_retries(self, limit: int) -> Sequence[InvoiceId]:
        return [each.invoice_id for each in self.store.retries][:limit]

    async def claim_retry_of(self, invoice_id: InvoiceId) -> Claim:
        if invoice_id in self.store.odd_retries:
            raise StoreRefused("the attempt is there already")
        others = {each.subscription_id for each in self.store.retries if each.invoice_id != invoice_id}
        return self._claim("claim_retry_of", self.store.retries, 1, others)

    async def set_aside_retry(self, invoice_id: InvoiceId, reason: str) -> None:
        self.store.retries = deque(each for each in self.store.retries if each.invoice_id != invoice_id)

    async def claim_retries(self, limit: int) -> Claim:
        if any(each.invoice_id in self.store.odd_retries for each in list(self.store.retries)[:limit]):
            raise StoreRefused("the attempt is there already")
        return self._claim("claim_retries", self.store.retries, limit)

    async def pending_notices(self, limit: int) -> Sequence[PendingNotice]:
        self.store.refuse("pending_notices")
        return [notice for notice, _ in self.store.notices.values()][:limit]

    async def heed(self, looks: Sequence[Look]) -> Mapping[NoticeId, OpenAttempt]:
        self.store.refuse("heed")
        self.store.heeded += looks
        known = {look: self.store.notices.pop(look.notice_id, None) for look in looks}
        opened = {
            look.notice_id: found[1]
            for look, found in known.items()
            if found is not None and look.finding is not Finding.NEITHER
        }
        self.store.open.update((each.attempt_id, each) for each in opened.values())
        return opened

    async def open_attempts(self, after: AttemptId | None, limit: int) -> Sequence[OpenAttempt]:
        self.store.refuse("open_attempts")
        attempts = [each for each in self.store.open.values() if each.attempt_id not in self.store.parked]
        start = 0 if after is None else [each.attempt_id for each in attempts].index(after) + 1
        page = attempts[start : start + limit]
        self.store.journal.append(f"open_attempts {len(page)}")
        return page

    async def parked_attempts(self, limit: int, carried: Collection[AttemptId]) -> Sequence[OpenAttempt]:
        due = [each for each in self.store.parked if each not in carried]
        return [self.store.open[each] for each in due[:limit]]

    async def parked_notices(self, limit: int, carried: Collection[NoticeId]) -> Sequence[PendingNotice]:
        return []

    async def park_attempts(self, parked: Sequence[ParkedAttempt]) -> None:
        self.store.refuse("park_attempts")
        self.store.parks += parked

    async def park_notices(self, parked: Sequence[ParkedNotice]) -> None:
        self.store.refuse("park_notices")
        self.store.notice_parks += parked

    async def use_next_keys(self, keys: Sequence[NextKeys]) -> None:
        self.store.refuse("use_next_keys")
        self.store.keys += keys

    async def bind(self, bindings: Sequence[Binding]) -> Mapping[InvoiceId, PaymentIntentId]:
        self.store.refuse("bind")
        known = [binding for binding in bindings if binding.invoice_id not in self.store.lost]
        for binding in known:
            self.store.bound.setdefault(binding.invoice_id, binding.payment_intent_id)
        return {binding.invoice_id: self.store.bound[binding.invoice_id] for binding in known}

    async def mark_unknown(self, attempts: Sequence[UnknownAttempt]) -> None:
        self.store.refuse("mark_unknown")
        self.store.unknown += attempts

    async def settle(self, settled: Sequence[SettledAttempt]) -> int:
        self.store.refuse("settle")
        known = [each for each in settled if each.attempt_id not in self.store.lost]
        fresh = [each for each in known if self.store.open.pop(each.attempt_id, None) is not None]
        self.store.settled += fresh
        return len(fresh)

    async def standings(self, attempts: Collection[AttemptId]) -> Mapping[AttemptId, Standing]:
        self.store.refuse("standings")
        found = {
            each.attempt_id: Standing(
                each.settlement.attempt_status.value, each.outcome.charge_id, PaymentIntentId("pi_bound")
            )
            for each in self.store.settled
        }
        found |= {
            each: Standing("open", None, self.store.bound.get(attempt.invoice_id))
            for each, attempt in self.store.open.items()
        }
        return {each: found[each] for each in attempts if each in found and each not in self.store.lost}

    def _refuse_odd_ones(self, chosen: Sequence[OpenAttempt]) -> None:
        if any(each.subscription_id in self.store.odd for each in chosen):
            raise StoreRefused("time zone not recognized")

    def _claim(
        self,
        kind: str,
        queue: deque[OpenAttempt],
        limit: int,
        set_aside: Collection[SubscriptionId] = (),
    ) -> Claim:
        self.store.refuse(kind)
        claimed = [each for each in queue if each.subscription_id not in set_aside][:limit]
        for each in claimed:
            queue.remove(each)
        self.store.open.update((each.attempt_id, each) for each in claimed)
        self.store.journal.append(f"{kind} {len(claimed)}")
        return Claim(tuple(claimed), 0.0)
