"""Which deliveries are Stripe's, and what is read from them."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from middleman.adapters.stripe.webhooks import SKEW_S, TOLERANCE_S, StripeNotices
from middleman.domain.ids import NoticeId, PaymentIntentId
from middleman.ports.notices import LiveNotice, NoticeKind, NoticeMalformed, NoticeRefused, ProcessorNotice

NOW_S = 1_790_000_000
OURS, NEXT, THEIRS = "whsec_ours", "whsec_next", "whsec_theirs"
EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": NOW_S - 60,
    "livemode": False,
    "data": {"object": {"id": "pi_1", "object": "payment_intent", "status": "succeeded"}},
}
BODY = json.dumps(EVENT).encode()


def signed(body: bytes = BODY, *, secret: str = OURS, at_s: int = NOW_S) -> str:
    """As Stripe signs, by its own page and none of its code."""
    digest = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest},v0=deadbeef"


def reader(*secrets: str) -> StripeNotices:
    return StripeNotices(secrets or (OURS,), lambda: NOW_S)


def read(event: object) -> ProcessorNotice | None:
    body = json.dumps(event).encode()
    return reader().read(body, signed(body))


def test_a_delivery_of_stripes_is_read() -> None:
    assert reader().read(BODY, signed()) == ProcessorNotice(
        notice_id=NoticeId("evt_1"),
        kind=NoticeKind.INTENT_SUCCEEDED,
        payment_intent_id=PaymentIntentId("pi_1"),
        occurred_at=datetime.fromtimestamp(NOW_S - 60, UTC),
    )


def test_a_cancellation_is_read() -> None:
    notice = read(EVENT | {"type": "payment_intent.canceled"})
    assert notice is not None
    assert notice.kind is NoticeKind.INTENT_CANCELED


@pytest.mark.parametrize("secret", [OURS, NEXT])
def test_while_one_secret_replaces_another_both_admit(secret: str) -> None:
    assert reader(OURS, NEXT).read(BODY, signed(secret=secret)) is not None


def test_of_several_signatures_one_has_to_be_right() -> None:
    stamp, right, _ = signed().split(",")
    assert reader().read(BODY, f"{stamp},v1={'0' * 64},{right}") is not None


@pytest.mark.parametrize("age_s", [TOLERANCE_S, 0, -SKEW_S])
def test_a_stamp_within_the_tolerance_is_taken(age_s: int) -> None:
    assert reader().read(BODY, signed(at_s=NOW_S - age_s)) is not None


@pytest.mark.parametrize("age_s", [TOLERANCE_S + 1, 86_400, -SKEW_S - 1, -86_400])
def test_a_stale_stamp_and_one_from_the_future_are_refused(age_s: int) -> None:
    with pytest.raises(NoticeRefused, match=r"ago|ahead"):
        reader().read(BODY, signed(at_s=NOW_S - age_s))


def test_another_secret_is_refused() -> None:
    with pytest.raises(NoticeRefused):
        reader(OURS, NEXT).read(BODY, signed(secret=THEIRS))


@pytest.mark.parametrize(
    "body", [BODY + b" ", BODY.replace(b"pi_1", b"pi_2"), b"", b"\xff\xfe", b"\x00" * 70_000]
)
def test_a_changed_body_is_refused_whatever_it_is(body: bytes) -> None:
    with pytest.raises(NoticeRefused):
        reader().read(body, signed())


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "v1=",
        "t=,v1=",
        "t=1",
        "t",
        ",,,",
        "t=x,v1=y",
        f"t={'9' * 5000},v1=y",
        f"v1={'0' * 64}",
        signed().replace("v1=", "v1=ä"),
        signed().replace(",v1=", f",v1=x{'x' * 5000},v1="),
        signed().replace("v1=", "v0="),
    ],
)
def test_any_other_header_is_refused_and_not_an_error(header: str | None) -> None:
    with pytest.raises(NoticeRefused):
        reader().read(BODY, header)


@pytest.mark.parametrize(
    "type_", ["charge.succeeded", "payment_intent.payment_failed", "v2.core.event_destination.ping", ""]
)
def test_what_is_of_no_interest_is_none_whatever_else_it_holds(type_: str) -> None:
    assert read({"type": type_, "data": None, "id": 7}) is None


def test_an_event_about_real_money_is_refused() -> None:
    with pytest.raises(LiveNotice):
        read(EVENT | {"livemode": True})


@pytest.mark.parametrize(
    "event",
    [
        [],
        None,
        7,
        "evt_1",
        {},
        {"type": 7},
        EVENT | {"id": None},
        EVENT | {"id": "evt_\x00"},
        EVENT | {"id": "evt_ü"},
        EVENT | {"id": "e" * 256},
        EVENT | {"data": {}},
        EVENT | {"data": []},
        EVENT | {"data": {"object": []}},
        EVENT | {"data": {"object": {"id": {"$ne": 1}}}},
        EVENT | {"data": {"object": {"id": "pi_1/../.."}}},
        EVENT | {"created": None},
        EVENT | {"created": "now"},
        EVENT | {"created": True},
        EVENT | {"created": -1},
        EVENT | {"created": 1e300},
        EVENT | {"created": 10**18},
    ],
)
def test_a_signed_body_that_is_no_event_is_malformed(event: object) -> None:
    with pytest.raises(NoticeMalformed):
        read(event)


@pytest.mark.parametrize("body", [b"", b"{", b"\xef\xbb\xbf{}", b'{"type": "\\ud800"}', b"NaN", b"[" * 5000])
def test_a_signed_body_that_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(NoticeMalformed):
        reader().read(body, signed(body))


def test_what_it_is_made_of_shows_no_secret() -> None:
    assert OURS not in repr(reader())
