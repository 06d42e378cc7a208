"""Stripe's webhooks: which deliveries are Stripe's, and what they tell (https://docs.stripe.com/webhooks/signature).

The SDK checks the signature and that it is not too old. It accepts stamps from the future, which would let whoever
caught a delivery keep it for later; we do not.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson
import stripe

from middleman.domain.ids import NoticeId, PaymentIntentId
from middleman.ports.notices import LiveNotice, NoticeKind, NoticeMalformed, NoticeRefused, ProcessorNotice

TOLERANCE_S = 300
"""As Stripe recommends; a delivery is stamped anew at each retry."""
SKEW_S = 30
"""How far Stripe's clock may be ahead of ours."""
_MAX_HEADER = 4096
_ID = re.compile(r"[A-Za-z0-9_]{1,255}", re.ASCII)
_LAST_S = 2**33  # in the year 2242

_KINDS: Mapping[str, NoticeKind] = {
    "payment_intent.succeeded": NoticeKind.INTENT_SUCCEEDED,
    "payment_intent.canceled": NoticeKind.INTENT_CANCELED,
}


@dataclass(frozen=True, slots=True)
class StripeNotices:
    """Implements `middleman.ports.notices.NoticeReader`. Several secrets while one replaces another; none twice."""

    secrets: Sequence[str] = field(repr=False)
    unix_now_s: Callable[[], float] = time.time

    def read(self, body: bytes, signature: str | None) -> ProcessorNotice | None:
        """See the port."""
        self._verify(body, signature)
        return _notice(body)

    def _verify(self, body: bytes, signature: str | None) -> None:
        if not signature:
            raise NoticeRefused("the header Stripe-Signature is missing")
        # The SDK compares texts of ASCII only, and raises something of Python's own otherwise.
        if not signature.isascii() or len(signature) > _MAX_HEADER:
            raise NoticeRefused("the header Stripe-Signature is none of Stripe's")
        if not any(self._is_signed(body, signature, secret) for secret in self.secrets):
            raise NoticeRefused("the signature is not the one that any of our secrets makes of this body")
        age_s = self.unix_now_s() - _stamp_s(signature)
        if age_s > TOLERANCE_S:
            raise NoticeRefused(f"it was signed more than {TOLERANCE_S} s ago")
        if age_s < -SKEW_S:
            raise NoticeRefused(f"it is stamped more than {SKEW_S} s ahead of our clock")

    def _is_signed(self, body: bytes, signature: str, secret: str) -> bool:
        try:
            # Age is ours to check, for all secrets alike and by our clock.
            return bool(stripe.WebhookSignature.verify_header(body, signature, secret, tolerance=None))
        except (stripe.SignatureVerificationError, UnicodeDecodeError):
            return False


def _stamp_s(signature: str) -> int:
    """Of a header that the SDK has read already, in the same way: the first `t` counts."""
    items = (item.split("=", 2) for item in signature.split(","))
    return next(int(item[1]) for item in items if item[0] == "t")


def _notice(body: bytes) -> ProcessorNotice | None:
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoticeMalformed("the body is not valid JSON") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise NoticeMalformed("the body is not an event: an object with a `type`")
    if event.get("livemode") is True:
        raise LiveNotice("the event is one of live mode")
    kind = _KINDS.get(event["type"])
    if kind is None:
        return None
    subject = event.get("data")
    subject = subject.get("object") if isinstance(subject, dict) else None
    if not isinstance(subject, dict):
        raise NoticeMalformed("`data.object` is missing")
    return ProcessorNotice(
        notice_id=NoticeId(_id(event, "id")),
        kind=kind,
        payment_intent_id=PaymentIntentId(_id(subject, "id", "data.object.")),
        occurred_at=_instant(event.get("created")),
    )


def _id(holder: Mapping[str, Any], name: str, where: str = "") -> str:
    value = holder.get(name)
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise NoticeMalformed(f"`{where}{name}` is no id of Stripe's")
    return value


def _instant(value: object) -> datetime:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LAST_S:
        raise NoticeMalformed("`created` is no Unix time")
    return datetime.fromtimestamp(value, UTC)
