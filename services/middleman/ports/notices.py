"""Notices: what a processor tells of its own accord, by webhook.

A notice settles nothing. It is a hint that a payment intent is worth looking at: whoever leads looks, by asking the
processor itself. So a notice may come twice, late, in any order, or be a lie, and no money moves or is booked for it.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from middleman.domain.ids import NoticeId, PaymentIntentId


class NoticeKind(StrEnum):
    """What is said to have happened; everything else that a processor tells of is ignored."""

    INTENT_SUCCEEDED = "intent.succeeded"
    INTENT_CANCELED = "intent.canceled"


@dataclass(frozen=True, slots=True)
class ProcessorNotice:
    """One event of the processor's. `occurred_at` is aware, by the processor's clock."""

    notice_id: NoticeId
    kind: NoticeKind
    payment_intent_id: PaymentIntentId
    occurred_at: datetime


class NoticeRefused(Exception):
    """The delivery is not shown to be the processor's; the message says why, and quotes nothing of it."""


class NoticeMalformed(Exception):
    """The processor's signature stands under something that is no event of its; the message says what is wrong."""


class LiveNotice(Exception):
    """The event is about real money, and this is a demonstration in test mode."""


class NoticeReader(Protocol):
    """Tells the processor's own deliveries from everybody else's."""

    def read(self, body: bytes, signature: str | None) -> ProcessorNotice | None:
        """The notice in a delivery; None for an event that is of no interest.

        Raises:
            NoticeRefused: the signature is missing, wrong, too old, or from the future.
            NoticeMalformed: signed, and not an event.
            LiveNotice: an event of live mode.
        """
        ...


class Filing(StrEnum):
    """What became of a notice."""

    FILED = "filed"
    KNOWN = "known"
    """It was filed before, or what it is about is settled: nothing was stored."""
    IGNORED = "ignored"
    """No invoice names the payment intent: nothing was stored."""


class Notices(Protocol):
    """Where notices wait for the leader."""

    async def file(self, notice: ProcessorNotice) -> Filing:
        """Keep the notice, durably, where it may tell something new. Repeating it changes nothing.

        Raises:
            StoreUnavailable: the database gave no answer.
        """
        ...
