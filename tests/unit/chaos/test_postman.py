"""The postman of the chaos script: what he signs is believed, and what he forges is not."""

import json

import pytest

from chaos.scenarios.postman import Event, forgeries, lie, sign
from middleman.adapters.stripe.webhooks import StripeNotices
from middleman.ports.notices import NoticeRefused

SECRET = "whsec_of_the_postman"
TRUE = Event.of(
    {
        "id": "evt_1",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": 1_790_000_000,
        "livemode": False,
        "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
    }
)


def test_what_he_signs_is_believed() -> None:
    notice = StripeNotices([SECRET]).read(TRUE.body, sign(TRUE.body, SECRET))
    assert notice is not None
    assert (notice.notice_id, notice.payment_intent_id) == ("evt_1", "pi_1")


def test_no_forgery_is_believed_and_each_would_show() -> None:
    forged = list(forgeries(TRUE, SECRET))
    assert len({each.event_id for each in (TRUE, *forged)}) == len(forged) + 1 > 5
    for each in forged:
        assert json.loads(each.body)["id"] == each.event_id
        with pytest.raises(NoticeRefused):
            StripeNotices([SECRET]).read(each.body, each.signature)


def test_a_lie_is_an_event_like_others_about_something_else() -> None:
    told = lie(TRUE, "pi_2")
    notice = StripeNotices([SECRET]).read(told.body, sign(told.body, SECRET))
    assert notice is not None
    assert notice.payment_intent_id == "pi_2"
    assert notice.notice_id == told.event_id != TRUE.event_id
