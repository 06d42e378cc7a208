"""Lists are complete, in order, and cost one statement each; what the leader wrote can be read."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import event
from tests.integration.api.conftest import ApiWorld, api_world
from tests.support.database import add_subscriptions

from cluster.postgres import PostgresServer

INVOICES = 7


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def billed(migrated_server: PostgresServer) -> AsyncIterator[ApiWorld]:
    """A world in which a leader has billed: paid, open after a decline, and one replica that fell silent."""
    async with api_world(migrated_server) as world:
        async with world.database.connect() as owner:
            await add_subscriptions(owner, INVOICES)
        async with world.database.connect("middleman_replica") as replica, replica.transaction():
            uid = uuid.uuid4()
            for holder in ("r1", "r2", "r3"):
                await replica.execute(
                    "SELECT take_office(0::smallint, $1, 7, $2)", holder, uid := uuid.uuid4()
                )
            await replica.execute("SELECT enter_term(0::smallint, 3, $1)", uid)
            await replica.execute(
                "INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end,"
                " amount_minor, currency, processor_customer_id, created_term)"
                " SELECT 'in_' || substr(id, 5) || '_0', id, customer_id, 0, 0, next_due_at,"
                " next_due_at + interval '1 month', 999, 'EUR', 'cus_x', 3 FROM subscriptions"
            )
            await replica.execute(
                "INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency,"
                " processor_customer_id, payment_method_id, created_term, status, settled_at, settled_term, code)"
                " SELECT 'at_' || substr(i.id, 4) || '_' || n, i.id, 0, n, 999, 'EUR', 'cus_x', 'pm_x', 3,"
                " 'declined', now(), 3, 'card_declined' FROM invoices i, generate_series(1, 3) n"
            )
            await replica.execute(
                "INSERT INTO replicas (name, incarnation, role, ops_url, started_at, last_seen_at) VALUES"
                " ('r3', 'x', 'leader', 'http://r3', now(), clock_timestamp()),"
                " ('r1', 'x', 'follower', 'http://r1', now(), clock_timestamp() - interval '1 minute')"
            )
            await replica.execute(
                "INSERT INTO events (kind, term, subject, data) SELECT 'invoice.opened', 3, id, '{\"n\": 1}'"
                " FROM invoices"
            )
        yield world


@contextmanager
def statements(world: ApiWorld) -> Iterator[list[str]]:
    """What is sent to the database meanwhile."""
    sent: list[str] = []

    def note(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    engine = world.first.pool.sync_engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def everything(client: httpx.AsyncClient, path: str, limit: int = 2, **filters: str) -> list[Any]:
    """All items of a list, page by page."""
    found: list[Any] = []
    parameters: dict[str, Any] = {"limit": limit, **filters}
    for _ in range(100):
        answer = await client.get(path, params=parameters)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert len(page["data"]) <= limit
        found += page["data"]
        if not page["has_more"]:
            assert page["next_cursor"] is None
            return found
        parameters["cursor"] = page["next_cursor"]
    raise AssertionError("the list does not end")


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ("/v1/customers", INVOICES),
        ("/v1/plans", 1),
        ("/v1/subscriptions", INVOICES),
        ("/v1/invoices", INVOICES),
        ("/v1/payment_attempts", 3 * INVOICES),
        ("/v1/leadership/terms", 3),
        ("/v1/events", 3 + INVOICES),
    ],
)
async def test_a_list_in_small_pages_is_complete_and_in_order(
    billed: ApiWorld, path: str, count: int
) -> None:
    paged = await everything(billed.client, path)
    assert len(paged) == count
    assert (await everything(billed.client, path, limit=100)) == paged


@pytest.mark.parametrize(
    ("path", "filters", "count"),
    [
        ("/v1/subscriptions", {"customer_id": "cu_s1"}, 1),
        ("/v1/subscriptions", {"plan_id": "pl_month"}, INVOICES),
        ("/v1/subscriptions", {"plan_id": "pl_none"}, 0),
        ("/v1/subscriptions", {"status": "active"}, INVOICES),
        ("/v1/subscriptions", {"status": "canceled"}, 0),
        ("/v1/subscriptions", {"due_before": "2000-01-01T00:00:00Z"}, 0),
        ("/v1/subscriptions", {"due_before": "9000-01-01T00:00:00+02:00"}, INVOICES),
        ("/v1/plans", {"active": "true"}, 1),
        ("/v1/plans", {"active": "false"}, 0),
        ("/v1/invoices", {"subscription_id": "sub_s2"}, 1),
        ("/v1/invoices", {"customer_id": "cu_s3", "status": "open"}, 1),
        ("/v1/invoices", {"status": "paid"}, 0),
        ("/v1/invoices", {"created_from": "2020-01-01T00:00:00Z"}, INVOICES),
        ("/v1/invoices", {"created_before": "2020-01-01T00:00:00Z"}, 0),
        ("/v1/payment_attempts", {"invoice_id": "in_s1_0", "status": "declined"}, 3),
        ("/v1/payment_attempts", {"status": "succeeded"}, 0),
        ("/v1/events", {"kind": "term.started"}, 3),
        ("/v1/events", {"subject": "in_s1_0"}, 1),
    ],
)
async def test_filters_select(billed: ApiWorld, path: str, filters: dict[str, str], count: int) -> None:
    assert len(await everything(billed.client, path, 100, **filters)) == count


@pytest.mark.parametrize(
    ("path", "most"),
    [
        ("/v1/customers", 1),
        ("/v1/plans", 1),
        ("/v1/subscriptions", 1),
        ("/v1/invoices", 1),
        ("/v1/payment_attempts", 1),
        ("/v1/events", 1),
        ("/v1/leadership/terms", 1),
        ("/v1/leadership", 2),
        ("/v1/invoices/in_s1_0", 2),
    ],
)
async def test_the_number_of_statements_does_not_grow_with_the_rows(
    billed: ApiWorld, path: str, most: int
) -> None:
    await billed.client.get(path)  # the caller's key is known from here on
    with statements(billed) as sent:
        assert (await billed.client.get(path)).status_code == 200
    assert 1 <= len(sent) <= most


async def test_an_invoice_is_read_with_its_attempts_first_to_last(billed: ApiWorld) -> None:
    invoice = (await billed.client.get("/v1/invoices/in_s1_0")).json()
    assert invoice["period_no"] == 0
    assert [attempt["attempt_no"] for attempt in invoice["payment_attempts"]] == [1, 2, 3]
    attempt = (await billed.client.get("/v1/payment_attempts/at_s1_0_2")).json()
    assert attempt == invoice["payment_attempts"][1]
    assert attempt["code"] == "card_declined"


async def test_leadership_names_the_term_at_the_fence_and_flags_the_silent(billed: ApiWorld) -> None:
    found = (await billed.client.get("/v1/leadership")).json()
    assert (found["term"]["number"], found["term"]["holder"], found["term"]["ended_at"]) == (3, "r3", None)
    assert {replica["name"]: replica["stale"] for replica in found["replicas"]} == {"r1": True, "r3": False}
    terms = (await billed.client.get("/v1/leadership/terms")).json()["data"]
    assert [(term["number"], term["end_reason"]) for term in terms] == [
        (3, None),
        (2, "superseded"),
        (1, "superseded"),
    ]


async def test_a_scope_without_terms_has_no_leader(billed: ApiWorld) -> None:
    assert (await billed.client.get("/v1/leadership", params={"scope": 9})).json()["term"] is None


async def test_followers_of_the_event_log_go_on_after_the_last_seq(billed: ApiWorld) -> None:
    events = await everything(billed.client, "/v1/events", limit=100)
    seqs = [item["seq"] for item in events]
    assert seqs == sorted(seqs)
    later = (await billed.client.get("/v1/events", params={"after_seq": seqs[-3]})).json()
    assert [item["seq"] for item in later["data"]] == seqs[-2:]
    newest = (await billed.client.get("/v1/events", params={"order": "newest_first", "limit": 2})).json()
    assert [item["seq"] for item in newest["data"]] == seqs[:-3:-1]


async def test_an_event_that_commits_late_is_not_skipped(billed: ApiWorld) -> None:
    add = "INSERT INTO events (kind, subject) VALUES ('test.event', $1) RETURNING seq"
    async with (
        billed.database.connect("middleman_api") as early,
        billed.database.connect("middleman_api") as late,
    ):
        open_transaction = early.transaction()
        await open_transaction.start()
        first = await early.fetchval(add, "early")  # the lower seq, still uncommitted
        second = await late.fetchval(add, "late")
        meanwhile = await everything(billed.client, "/v1/events", kind="test.event")
        await open_transaction.commit()
    assert meanwhile == []
    found = await everything(billed.client, "/v1/events", kind="test.event")
    assert [item["seq"] for item in found] == [first, second]


async def test_a_subscription_past_its_end_shows_as_canceled_before_the_leader_says_so(
    billed: ApiWorld,
) -> None:
    async with billed.database.connect() as owner:
        await owner.execute(
            "UPDATE subscriptions SET ends_at = now() - interval '1 minute' WHERE id = 'sub_s7'"
        )
        try:
            assert (await billed.client.get("/v1/subscriptions/sub_s7")).json()["status"] == "canceled"
            canceled = await everything(billed.client, "/v1/subscriptions", status="canceled")
            assert [item["id"] for item in canceled] == ["sub_s7"]
        finally:
            await owner.execute("UPDATE subscriptions SET ends_at = NULL WHERE id = 'sub_s7'")
