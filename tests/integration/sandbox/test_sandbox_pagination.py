"""Lists: newest first, page by page in both directions, filtered by customer and creation."""

from typing import Any

import pytest
import stripe
from tests.support.sandbox_process import SandboxProcess, code_of


@pytest.fixture(scope="module")
def listed(shared_sandbox: SandboxProcess) -> tuple[Any, str, list[str]]:
    """A client, a customer, and the customer's seven intents, newest first, made 100 s apart."""
    client = shared_sandbox.sdk()
    customer = client.v1.customers.create().id
    ids = []
    for number in range(7):
        shared_sandbox.admin("POST", "clock", {"offset_s": 1_000_000 + number * 100})
        ids.append(
            client.v1.payment_intents.create({"amount": 500, "currency": "usd", "customer": customer}).id
        )
    shared_sandbox.admin("POST", "clock", {"offset_s": 0})
    return client, customer, ids[::-1]


Listed = tuple[Any, str, list[str]]


def test_pages_follow_each_other_from_the_newest_to_the_oldest(listed: Listed) -> None:
    client, customer, ids = listed
    first = client.v1.payment_intents.list({"customer": customer, "limit": 3})
    assert ([one.id for one in first.data], first.has_more) == (ids[:3], True)
    second = client.v1.payment_intents.list({"customer": customer, "limit": 3, "starting_after": ids[2]})
    assert ([one.id for one in second.data], second.has_more) == (ids[3:6], True)
    last = client.v1.payment_intents.list({"customer": customer, "limit": 3, "starting_after": ids[5]})
    assert ([one.id for one in last.data], last.has_more) == (ids[6:], False)
    everything = client.v1.payment_intents.list({"customer": customer, "limit": 2}).auto_paging_iter()
    assert [one.id for one in everything] == ids


def test_ending_before_goes_back_to_the_newer_ones_next_to_the_cursor(listed: Listed) -> None:
    client, customer, ids = listed
    back = client.v1.payment_intents.list({"customer": customer, "limit": 2, "ending_before": ids[4]})
    assert ([one.id for one in back.data], back.has_more) == (ids[2:4], True)
    front = client.v1.payment_intents.list({"customer": customer, "limit": 5, "ending_before": ids[2]})
    assert ([one.id for one in front.data], front.has_more) == (ids[:2], False)


def test_created_bounds_are_as_open_or_closed_as_they_say(listed: Listed) -> None:
    client, customer, ids = listed
    stamps = [one.created for one in client.v1.payment_intents.list({"customer": customer}).data]

    def between(**bounds: int) -> list[str]:
        found = client.v1.payment_intents.list({"customer": customer, "created": bounds})
        return [one.id for one in found.data]

    assert between(gte=stamps[4], lte=stamps[2]) == ids[2:5]
    assert between(gt=stamps[4], lt=stamps[2]) == [ids[3]]
    exact = client.v1.payment_intents.list({"customer": customer, "created": stamps[1]})
    assert [one.id for one in exact.data] == [ids[1]]


def test_limits_and_cursors_out_of_range_are_refused(listed: Listed) -> None:
    client, customer, _ = listed
    for limit in (0, 101):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.payment_intents.list({"customer": customer, "limit": limit})
        assert refused.value.param == "limit"
    unknown = lambda: client.v1.payment_intents.list({"starting_after": "pi_none"})  # noqa: E731 - read once, below
    assert code_of(unknown) == (400, "resource_missing")


def test_events_page_like_everything_else(listed: Listed) -> None:
    client, _, ids = listed
    creations = [
        event.data.object["id"]
        for event in client.v1.events.list(
            {"types": ["payment_intent.created"], "limit": 2}
        ).auto_paging_iter()
    ]
    assert [one for one in creations if one in ids] == ids
    newest = client.v1.events.list({"limit": 3}).data
    back = client.v1.events.list({"limit": 2, "ending_before": newest[2].id})
    assert [one.id for one in back.data] == [one.id for one in newest[:2]]


def test_more_types_than_stripe_takes_are_refused(listed: Listed) -> None:
    client, _, _ = listed
    assert client.v1.events.list({"types": ["payment_intent.created"] * 20, "limit": 1}).data
    for count in (21, 1000):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            client.v1.events.list({"types": ["a"] * count})
        assert (refused.value.http_status, refused.value.param) == (400, "types")
        assert refused.value.user_message == "Array types exceeded maximum 20 allowed elements."
