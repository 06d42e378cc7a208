"""Every filter of the REST API's lists stays on an index, and on one that finds what is rare at once."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.support.database import add_subscriptions, fresh_database

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import engine
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.records import PostgresRecords
from middleman.domain.ids import CustomerId, InvoiceId, PlanId, SubscriptionId
from middleman.ports.records import AttemptFilter, InvoiceFilter, SubscriptionFilter

# 20,000 charges that succeeded at once and 40 each of everything else, in the distant past. Triggers and foreign keys
# are off: what they guard is no matter here.
FILL = """
    SET session_replication_role = replica;
    UPDATE subscriptions SET status = 'past_due' WHERE id <= 'sub_s1001';
    UPDATE subscriptions SET status = 'canceled', ends_at = now() WHERE id LIKE 'sub_s55%';
    INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end, amount_minor,
                          currency, processor_customer_id, created_term, status, payment_intent_id, bound_term,
                          settled_at, created_at)
    SELECT 'in_s' || n || '_0', 'sub_s' || n, 'cu_s' || n, 0, 0, now(), now() + interval '1 month', 999, 'EUR', 'cus_x', 1,
           status, 'pi_' || n, 1, CASE WHEN status <> 'open' THEN now() END, '2020-01-01'::timestamptz + n * interval '1 s'
    FROM generate_series(1, 20000) n,
         LATERAL (SELECT CASE n / 40 WHEN 0 THEN 'open' WHEN 1 THEN 'requires_action' WHEN 2 THEN 'uncollectible'
                                     WHEN 3 THEN 'void' ELSE 'paid' END AS status) s;
    INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, amount_minor, currency, processor_customer_id,
                                  payment_method_id, created_term, status, settled_at, settled_term, created_at)
    SELECT 'at_' || substr(id, 4) || '_1', id, 0, 1, 999, 'EUR', 'cus_x', 'pm_x', 1, outcome,
           CASE WHEN outcome <> 'open' THEN now() END, CASE WHEN outcome <> 'open' THEN 1 END, created_at
    FROM invoices,
         LATERAL (SELECT CASE status WHEN 'open' THEN 'open' WHEN 'requires_action' THEN 'requires_action'
                         WHEN 'uncollectible' THEN 'declined' WHEN 'void' THEN 'canceled' ELSE 'succeeded' END
                         AS outcome) o;
    INSERT INTO events (kind, subject) SELECT 'term.started', 'term_1';
    INSERT INTO events (kind, subject) SELECT 'attempt.settled', id FROM payment_attempts;
    INSERT INTO events (kind, subject) SELECT 'invoice.opened', id FROM invoices;
    SET session_replication_role = origin;
    ANALYZE;
"""

Read = Callable[[PostgresRecords], Awaitable[object]]
Owner: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def _subscriptions(**where: Any) -> Read:
    return lambda records: records.subscriptions(None, 20, SubscriptionFilter(**where))


def _invoices(**where: Any) -> Read:
    return lambda records: records.invoices(None, 20, InvoiceFilter(**where))


def _attempts(**where: Any) -> Read:
    return lambda records: records.payment_attempts(None, 20, AttemptFilter(**where))


def _events(kind: str | None = None, subject: str | None = None, newest_first: bool = True) -> Read:
    return lambda records: records.events(None, 20, newest_first=newest_first, kind=kind, subject=subject)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def filled(migrated_server: PostgresServer) -> AsyncIterator[tuple[AsyncEngine, Owner]]:
    """The API's sessions, and the owner's, on a database with a past."""
    async with fresh_database(migrated_server) as database, database.connect() as owner:
        await add_subscriptions(owner, 20_000, due_in="1 hour")
        await owner.execute(FILL)
        pool = engine(database.dsn("middleman_api"), application_name="lists", pool_size=1)
        yield pool, owner
        await pool.dispose()


@pytest.mark.parametrize(
    ("read", "index"),
    [
        (_subscriptions(), "subscriptions_by_creation"),
        (_subscriptions(status="active"), "subscriptions_by_creation"),
        (_subscriptions(status="past_due"), "subscriptions_past_due"),
        (_subscriptions(status="canceled"), "subscriptions_with_an_end"),
        (_subscriptions(customer_id=CustomerId("cu_s7")), "subscriptions_of_customer"),
        (_subscriptions(plan_id=PlanId("pl_none")), "subscriptions_of_plan"),
        (_invoices(), "invoices_by_creation"),
        (_invoices(status="paid"), "invoices_by_creation"),
        (_invoices(status="open"), "invoices_by_status"),
        (_invoices(status="requires_action"), "invoices_by_status"),
        (_invoices(status="uncollectible"), "invoices_by_status"),
        (_invoices(status="void", created_before=datetime(2021, 1, 1, tzinfo=UTC)), "invoices_by_status"),
        (_invoices(subscription_id=SubscriptionId("sub_s7")), "invoices_one_per_period"),
        (_invoices(customer_id=CustomerId("cu_s7")), "invoices_of_customer"),
        (_attempts(), "payment_attempts_by_creation"),
        (_attempts(status="succeeded"), "payment_attempts_by_creation"),
        (_attempts(status="open"), "payment_attempts_open"),
        (_attempts(status="declined"), "payment_attempts_by_status"),
        (_attempts(status="requires_action"), "payment_attempts_by_status"),
        (_attempts(status="canceled"), "payment_attempts_by_status"),
        (_attempts(invoice_id=InvoiceId("in_s7_0")), "payment_attempts_"),
        (_events(), "events_in_order"),
        (_events(kind="term.started"), "events_of_kind"),
        (_events(kind="term.started", newest_first=False), "events_of_kind"),
        (_events(kind="never.happened"), "events_of_kind"),
        (_events(subject="in_s7_0"), "events_of_subject"),
        (_events(subject="in_s7_0", newest_first=False), "events_of_subject"),
        (_events(subject="in_s7_0", kind="invoice.opened"), "events_of_"),
    ],
)
async def test_a_list_is_read_from_the_index_that_was_made_for_it(
    filled: tuple[AsyncEngine, Owner], read: Read, index: str
) -> None:
    pool, owner = filled
    sent: list[tuple[str, tuple[Any, ...]]] = []

    def note(_c: object, _k: object, statement: str, parameters: tuple[Any, ...], *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(pool.sync_engine, "before_cursor_execute", note)
    try:
        await read(PostgresRecords(Reader(pool)))
    finally:
        event.remove(pool.sync_engine, "before_cursor_execute", note)
    ((statement, parameters),) = sent
    # The plan for all values is what a session settles for in the end.
    await owner.execute("SET plan_cache_mode = force_generic_plan")
    plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {statement}", *parameters))
    assert index in plan, plan
    assert "Seq Scan" not in plan, plan
