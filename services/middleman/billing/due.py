"""Claim what is due: from a watermark on, and around the subscriptions that the database cannot bill.

The claims of a term move forward: what is due next began no earlier than the oldest that was claimed some seconds ago.
That is the watermark. Without it each claim would first walk over all that earlier ones have left behind, which the
database may not clear away while some old snapshot is held open (a dump, a forgotten session). What is due behind the
watermark all the same (a subscription that begins in the past, one whose row was locked) is found by looking back
every few seconds (docs/adr/0019-a-watermark-below-the-due-scan.md).

A claim is one statement for hundreds of subscriptions. If one of them is beyond the database (its time zone is gone
with an upgrade, its next boundary beyond the calendar), the statement is refused for all, in every term. So after a
refusal they are claimed one by one, and whoever is refused alone is set aside for the term, loudly; the others are
billed. Nothing is lost: the period stays due, and the next term tries again.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import structlog

from middleman.billing.observer import BillingObserver
from middleman.billing.patience import Patience
from middleman.domain.ids import SubscriptionId
from middleman.ports.clock import Clock
from middleman.ports.store import Claim, Store, StoreRefused
from middleman.ports.term import Term

log = structlog.get_logger(__name__)

_ONE_BY_ONE = 50
"""So many at most after one refusal, each in a transaction of its own: what was claimed must not wait for long."""

LOOK_BACK_INTERVAL_S = 5.0
"""How long a period may wait behind the watermark."""

MOST_SET_ASIDE = 1000
"""Beyond that it is no odd subscription but the database that is at fault: the term ends as it does for any defect."""


@dataclass(slots=True)
class DueClaims:
    """Claims for one term."""

    term: Term
    store: Store
    clock: Clock
    patience: Patience
    observer: BillingObserver
    set_aside: set[SubscriptionId] = field(default_factory=set)
    _watermark: datetime | None = None
    _next_watermark: datetime | None = None
    _looked_back_at_s: float = -math.inf

    async def claim(self, limit: int, end_limit: int) -> Claim:
        """End up to `end_limit` subscriptions, then claim up to `limit` due periods, oldest first.

        Raises what `Store.fenced` raises; what was claimed before that is found by recovering. `StoreRefused` only where
        too many are refused.
        """
        now_s = self.clock.boottime_s()
        looks_back = now_s - self._looked_back_at_s >= LOOK_BACK_INTERVAL_S
        not_before = None if looks_back else self._watermark
        try:
            async with self.patience.transaction(self.store, self.term) as transaction:
                await transaction.end_subscriptions(end_limit)
                claim = partial(transaction.claim_due, limit, self.set_aside, not_before)
                claimed = await self.timed("due", claim)
        except StoreRefused as error:
            log.error("claim.refused", token=self.term.number, reason=str(error))
            return await self.timed("due", partial(self._claim_one_by_one, min(limit, _ONE_BY_ONE)))
        if looks_back:
            # One look behind, since who subscribes now may commit a moment after a later period was claimed.
            self._looked_back_at_s, self._watermark = now_s, self._next_watermark
            self._next_watermark = claimed.oldest_start or self._next_watermark
        return claimed

    async def timed(self, kind: str, claim: Callable[[], Awaitable[Claim]]) -> Claim:
        """Run `claim` and tell the observer what it claimed, and how long that took."""
        started_s = self.clock.boottime_s()
        claimed = await claim()
        self.observer.claimed(kind, len(claimed.attempts), claimed.lag_s, self.clock.boottime_s() - started_s)
        return claimed

    async def _claim_one_by_one(self, limit: int) -> Claim:
        async with self.patience.transaction(self.store, self.term) as transaction:
            due = await transaction.due_subscriptions(limit, self.set_aside)
        claims: list[Claim] = []
        for subscription_id in due:
            try:
                async with self.patience.transaction(self.store, self.term) as transaction:
                    claims.append(await transaction.claim_period_of(subscription_id))
            except StoreRefused as error:
                self._set_aside(subscription_id, error)
        return Claim(
            tuple(attempt for claim in claims for attempt in claim.attempts),
            max((claim.lag_s for claim in claims), default=0.0),
        )

    def _set_aside(self, subscription_id: SubscriptionId, error: StoreRefused) -> None:
        if len(self.set_aside) >= MOST_SET_ASIDE:
            raise error
        self.set_aside.add(subscription_id)
        self.observer.set_aside(len(self.set_aside))
        log.error("subscription.set_aside", subscription=subscription_id, reason=str(error))
