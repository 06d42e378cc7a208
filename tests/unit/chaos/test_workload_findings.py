"""What the workload finds when acknowledged writes and the database disagree."""

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from chaos.demo.population import plans
from chaos.workload.book import Book, Client
from chaos.workload.findings import MAX_FINDINGS, Row, compare
from chaos.workload.population import Crowd, spread

CROWD = Crowd(1, "chaos-test")
[DRAFT] = islice(CROWD.drafts(), 1)
PLAN = "pl_1"
ENDS = datetime(2030, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def book() -> Book:
    return Book()


@pytest.fixture
def client(book: Book) -> Client:
    """One who was told of a customer and a subscription."""
    client = book.comes(DRAFT, PLAN)
    client.customer_id = "cu_1"
    book.subscribes(client, "sub_1")
    return client


THERE = Row(DRAFT.email, "cu_1", "sub_1", PLAN, DRAFT.time_zone)


def test_what_was_acknowledged_and_is_there_once_is_well(book: Book, client: Client) -> None:
    assert client.email == DRAFT.email
    assert compare(book, [THERE]) == []


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ([], "was told cu_1, which is not there"),
        ([replace(THERE, customer_id="cu_2")], "was told cu_1, which is not there"),
        ([THERE, replace(THERE, customer_id="cu_2", subscription_id=None)], "is 2 customers"),
        ([replace(THERE, subscription_id=None, plan_id=None)], "was told sub_1, which is not there"),
        ([replace(THERE, subscription_id="sub_2")], "was told sub_1, which is not there"),
        ([THERE, replace(THERE, subscription_id="sub_2")], "has 2 subscriptions: sub_1, sub_2"),
        ([replace(THERE, plan_id="pl_2")], "is on pl_2"),
        ([replace(THERE, time_zone="Mars/Olympus")], "in Mars/Olympus"),
        ([replace(THERE, ends_at=ENDS)], "though nobody asked"),
        ([THERE, Row("nobody@example.com", "cu_9")], "nobody@example.com is a customer"),
    ],
    ids=[
        "customer-lost",
        "other-customer",
        "customer-twice",
        "subscription-lost",
        "other-subscription",
        "subscription-twice",
        "other-plan",
        "other-zone",
        "ended-unasked",
        "unasked",
    ],
)
def test_what_differs_is_found_and_named(book: Book, client: Client, rows: list[Row], found: str) -> None:
    [wrong] = compare(book, rows)
    assert found in wrong


def test_what_was_never_acknowledged_may_be_there_once_or_not(book: Book) -> None:
    book.comes(DRAFT, PLAN)
    assert compare(book, []) == []
    assert compare(book, [Row(DRAFT.email, "cu_1")]) == []
    assert compare(book, [THERE]) == []
    [wrong] = compare(book, [THERE, replace(THERE, customer_id="cu_2", subscription_id="sub_2")])
    assert "asked once and is 2 customers" in wrong


def test_a_subscription_that_dunning_gave_up_may_end_unasked(book: Book, client: Client) -> None:
    assert compare(book, [replace(THERE, ends_at=ENDS, given_up=True)]) == []


def test_an_acknowledged_cancellation_took_effect_and_never_later_than_was_told(
    book: Book, client: Client
) -> None:
    client.cancel, client.told_ends_at = "now", ENDS
    assert compare(book, [replace(THERE, ends_at=ENDS)]) == []
    assert compare(book, [replace(THERE, ends_at=ENDS - DAY)]) == []
    for ends_at in (None, ENDS + DAY):
        [wrong] = compare(book, [replace(THERE, ends_at=ends_at)])
        assert "its client was told" in wrong


def test_no_period_is_billed_that_begins_at_the_end_or_later(book: Book, client: Client) -> None:
    client.cancel, client.told_ends_at = "now", ENDS
    assert compare(book, [replace(THERE, ends_at=ENDS, billed_up_to=ENDS - DAY)]) == []
    [wrong] = compare(book, [replace(THERE, ends_at=ENDS, billed_up_to=ENDS)])
    assert "was billed for a period from" in wrong


def test_definite_refusals_are_findings(book: Book) -> None:
    book.refused("POST /v1/customers was refused with 422: no")
    assert compare(book, []) == ["POST /v1/customers was refused with 422: no"]


def test_many_findings_are_a_few_and_a_number(book: Book) -> None:
    rows = [Row(f"nobody-{number}@example.com", f"cu_{number}") for number in range(MAX_FINDINGS + 7)]
    wrong = compare(book, rows)
    assert len(wrong) == MAX_FINDINGS + 1
    assert wrong[-1] == "and 7 more"


def test_the_same_seed_brings_the_same_crowd_and_two_runs_never_the_same_address() -> None:
    first, again = (list(islice(Crowd(7, "chaos-a").drafts(), 200)) for _ in range(2))
    assert first == again
    other = list(islice(Crowd(7, "chaos-b").drafts(), 200))
    assert not {draft.email for draft in first} & {draft.email for draft in other}
    assert [draft.plan for draft in first] == [draft.plan for draft in other]


def test_nine_of_ten_are_on_daily_plans() -> None:
    offered = plans()
    drafts = list(islice(CROWD.drafts(), 1000))
    daily = sum(offered[draft.plan].interval_unit == "day" for draft in drafts)
    assert daily >= 900


def test_the_first_periods_are_spread_evenly_up_to_the_end() -> None:
    instants = spread(ENDS, 4, DAY)
    assert instants == [ENDS + DAY / 4, ENDS + DAY / 2, ENDS + DAY * 3 / 4, ENDS + DAY]


def test_who_leaves_is_not_asked_to_leave_again(book: Book, client: Client) -> None:
    assert book.anyone(random.Random(1)) is client
    book.leaves(client)
    book.leaves(client)
    assert book.anyone(random.Random(1)) is None
    assert book.subscribed == 0
