"""Claim what is due: from a watermark on, and around the subscriptions that the database cannot bill.

The claims of a term move forward: what is due next began no earlier than the oldest that was claimed some seconds ago.
That is the watermark. Without it each claim would first walk over all that earlier ones have left behind, which the
database may not clear away while some old snapshot is held open (a dump, a forgotten session). It stays below what is due
and waits behind a period that is being charged. What is due behind the watermark all the same (a subscription that begins
in the past, one whose row was locked) is found by looking back every few seconds
(docs/adr/0019-a-watermark-below-the-due-scan.md).

A claim is one statement for hundreds of subscriptions. If the database refuses one of them (its time zone is gone with
an upgrade, its next boundary lies beyond the calendar), the statement is refused for all, in every term. So after a
refusal one more statement sets aside those that it is refused for, and the next claim takes the others. The mark stands
in the row, and is tried again every day (docs/adr/0022-what-cannot-be-billed-is-set-aside.md). A refusal that this does
not find is looked for one by one.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import structlog

from middleman.billing.observer import BillingObserver
from middleman.billing.patience import Patience
from middleman.domain.ids import InvoiceId
from middleman.ports.clock import Clock
from middleman.ports.store import Claim, PendingNotice, Store, StoreRefused
from middleman.ports.term import Term

log = structlog.get_logger(__name__)

_ONE_BY_ONE = 50
"""So many at most after one refusal, each in a transaction of its own: what was claimed must not wait for long."""

LOOK_BACK_INTERVAL_S = 5.0
"""How long a period may wait behind the watermark."""

RETRY_INTERVAL_S = 60.0
"""How often it is asked whether the day of what was set aside is over."""

_LOGGED = 20
"""So many of those that were set aside together are named in the log; the table names them all."""


@dataclass(slots=True)
class DueClaims:
    """Claims for one term. A subscription with more than `max_overdue` periods overdue is held."""

    term: Term
    store: Store
    clock: Clock
    patience: Patience
    observer: BillingObserver
    max_overdue: int
    _watermark: datetime | None = None
    _next_watermark: datetime | None = None
    _looked_back_at_s: float = -math.inf
    _retried_at_s: float = -math.inf
    _has_claimed: bool = False

    async def claim(self, limit: int, end_limit: int) -> Claim:
        """End up to `end_limit` subscriptions, then claim up to `limit` due periods, oldest first.

        Raises what `Store.fenced` raises; what was claimed before that is found by recovering.
        """
        now_s = self.clock.boottime_s()
        looks_back = now_s - self._looked_back_at_s >= LOOK_BACK_INTERVAL_S
        not_before = None if looks_back else self._watermark
        # Not with a term's first claim: its first charge waits for nothing.
        retries = self._has_claimed and now_s - self._retried_at_s >= RETRY_INTERVAL_S
        self._has_claimed = True
        try:
            async with self.patience.transaction(self.store, self.term) as transaction:
                await transaction.end_subscriptions(end_limit)
                if retries:
                    await transaction.retry_set_aside(end_limit)
                oldest = await transaction.oldest_due() if looks_back else None
                claim = partial(transaction.claim_due, limit, self.max_overdue, not_before)
                claimed = await self.timed("due", claim)
        except StoreRefused as error:
            log.error("claim.refused", token=self.term.number, reason=str(error))
            return await self._claim_around_refusals(limit)
        if retries:
            self._retried_at_s = now_s
        if looks_back:
            # One look behind, since who subscribes now may commit a moment after a later period was claimed.
            self._looked_back_at_s, self._watermark = now_s, self._next_watermark
            self._next_watermark = oldest or self._next_watermark
        for subscription_id in claimed.held[:_LOGGED]:
            log.error("subscription.held", subscription=subscription_id, max_overdue=self.max_overdue)
        return claimed

    async def claim_retries(self, limit: int) -> tuple[Claim, Sequence[PendingNotice]]:
        """The next attempts of up to `limit` declined invoices, and as many notices to look into.

        Raises what `Store.fenced` raises. A retry that the database refuses is put off for a day, and the others go on.
        """
        try:
            async with self.patience.transaction(self.store, self.term) as transaction:
                notices = await transaction.pending_notices(limit)
                claim = partial(transaction.claim_retries, limit)
                return await self.timed("retry", claim), notices
        except StoreRefused as error:
            log.error("claim.refused", token=self.term.number, reason=str(error))
        async with self.patience.transaction(self.store, self.term) as transaction:
            notices = await transaction.pending_notices(limit)
            due = await transaction.due_retries(min(limit, _ONE_BY_ONE))
        return await self.timed("retry", partial(self._retry_one_by_one, due)), notices

    async def timed(self, kind: str, claim: Callable[[], Awaitable[Claim]]) -> Claim:
        """Run `claim` and report to the observer what it claimed, and how long that took."""
        started_s = self.clock.boottime_s()
        claimed = await claim()
        self.observer.claimed(kind, len(claimed.attempts), claimed.lag_s, self.clock.boottime_s() - started_s)
        return claimed

    async def _claim_around_refusals(self, limit: int) -> Claim:
        """Set aside what the last claim was refused for, and claim the rest; one by one where the reason is not found."""
        async with self.patience.transaction(self.store, self.term) as transaction:
            set_aside = await transaction.set_aside_due(limit)
        for each in set_aside[:_LOGGED]:
            log.error("subscription.set_aside", subscription=each.subscription_id, reason=each.reason)
        if len(set_aside) > _LOGGED:
            log.error("subscription.set_aside", more=len(set_aside) - _LOGGED)
        try:
            async with self.patience.transaction(self.store, self.term) as transaction:
                return await self.timed("due", partial(transaction.claim_due, limit, self.max_overdue))
        except StoreRefused:
            return await self.timed("due", partial(self._claim_one_by_one, min(limit, _ONE_BY_ONE)))

    async def _claim_one_by_one(self, limit: int) -> Claim:
        async with self.patience.transaction(self.store, self.term) as transaction:
            due = await transaction.due_subscriptions(limit)
        claims: list[Claim] = []
        for subscription_id in due:
            try:
                async with self.patience.transaction(self.store, self.term) as transaction:
                    claims.append(await transaction.claim_period_of(subscription_id, self.max_overdue))
            except StoreRefused as error:
                log.error("subscription.set_aside", subscription=subscription_id, reason=str(error))
                async with self.patience.transaction(self.store, self.term) as transaction:
                    await transaction.set_aside(subscription_id, str(error))
        return _joined(claims)

    async def _retry_one_by_one(self, invoices: Sequence[InvoiceId]) -> Claim:
        claims: list[Claim] = []
        for invoice_id in invoices:
            try:
                async with self.patience.transaction(self.store, self.term) as transaction:
                    claims.append(await transaction.claim_retry_of(invoice_id))
            except StoreRefused as error:
                log.error("invoice.set_aside", invoice=invoice_id, reason=str(error))
                async with self.patience.transaction(self.store, self.term) as transaction:
                    await transaction.set_aside_retry(invoice_id, str(error))
        return _joined(claims)


def _joined(claims: Sequence[Claim]) -> Claim:
    return Claim(
        tuple(attempt for claim in claims for attempt in claim.attempts),
        max((claim.lag_s for claim in claims), default=0.0),
        held=tuple(subscription for claim in claims for subscription in claim.held),
    )
