"""Look into what the processor told of by itself, before anything is done about it.

    notice ─▶ read the payment intent ─▶ heed (fenced) ─▶ attempt ─▶ read, settle (billing/collect.py)
                                           │
                                           └─ nothing final to see: handled, and no invoice is touched

The notice decides nothing, and neither does its kind: only what the processor shows when asked. An attempt is opened
where the intent has succeeded or was canceled, and nowhere else, so no notice, true or forged, leads to another try at
the customer's card.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

import structlog

from middleman.billing.calls import NoAnswer, ProcessorCalls
from middleman.billing.observer import BillingObserver
from middleman.domain.attempts import Unknown
from middleman.domain.ids import NoticeId
from middleman.domain.intents import IntentSnapshot, IntentStatus
from middleman.ports.processor import Missing, NotSent, OperatorFault
from middleman.ports.store import Finding, Look, OpenAttempt, PendingNotice

log = structlog.get_logger(__name__)


class NoticeLedger(Protocol):
    """The fenced write that ends a look."""

    async def heed(self, look: Look) -> OpenAttempt | None:
        """Mark the notice handled, and open the attempt that will settle what was found; None where none is needed."""
        ...

    async def park_notice(self, notice: PendingNotice, *, times: int) -> None:
        """Keep when the notice is due for its next try; it is parked for the `times`-th time (from 1)."""
        ...


@dataclass(frozen=True, slots=True)
class Looker:
    """Looks into notices for one term."""

    calls: ProcessorCalls
    ledger: NoticeLedger
    observer: BillingObserver
    defer: Callable[[NoticeId], None]

    async def look(self, notice: PendingNotice) -> OpenAttempt | None:
        """The attempt to carry, which must read before it confirms; None where there is nothing to settle.

        A notice whose intent cannot be read for some tries is parked, as attempts are.

        Raises:
            TrustLost, StaleTerm: this replica must stand down; the notice is left to its successor.
            Draining: no call may start any more; the notice is left to the successor.
        """
        try:
            finding = await self._find(notice)
        except NoAnswer as silence:
            await self.ledger.park_notice(notice, times=max(1, notice.parked_count + silence.is_its_own))
            return None
        self.observer.looked(finding.value)
        if finding is Finding.NEITHER:
            log.warning("notice.unfounded", notice=notice.notice_id, intent=notice.payment_intent_id)
        return await self.ledger.heed(Look(notice.notice_id, finding))

    async def _find(self, notice: PendingNotice) -> Finding:
        was_parked = notice.parked_count > 0
        pauses = self.calls.pauses(lambda: self.defer(notice.notice_id), was_parked=was_parked)
        while True:
            match await self.calls.read(notice.payment_intent_id):
                case IntentSnapshot() as snapshot:
                    return _finding(snapshot.status)
                case (Missing() | OperatorFault()) as answer:
                    # It is bound to one of our invoices, so it exists: for another account's key, say, it does not.
                    # Nobody may guess here: keep asking, and be loud about it.
                    log.error("notice.unreadable", intent=notice.payment_intent_id, answer=str(answer))
                    await pauses.wait(
                        "read", Unknown("intent_missing") if isinstance(answer, Missing) else answer
                    )
                case (Unknown() | NotSent()) as unanswered:
                    await pauses.wait("read", unanswered)
                case other:
                    assert_never(other)


def _finding(status: IntentStatus) -> Finding:
    match status:
        case IntentStatus.SUCCEEDED:
            return Finding.SUCCEEDED
        case IntentStatus.CANCELED:
            return Finding.CANCELED
        case _:
            return Finding.NEITHER
