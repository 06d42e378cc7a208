"""`Records` on PostgreSQL: every page is one statement, in autocommit, on an index."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, Table, bindparam, func, select, text, tuple_
from sqlalchemy.exc import DBAPIError

from middleman.adapters.postgres import accounts_rows as rows
from middleman.adapters.postgres.accounts_sql import READ_TEST_CLOCK
from middleman.adapters.postgres.errors import ReadOnlyServer, ShutOut, reason_of, sqlstate
from middleman.adapters.postgres.heartbeat import FORGOTTEN_AFTER_S
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.schema import (
    customers,
    events,
    fence,
    invoices,
    payment_attempts,
    plans,
    replicas,
    subscriptions,
    terms,
)
from middleman.ports.accounts import ClockReading, Customer, Plan, Subscription
from middleman.ports.records import (
    AttemptFilter,
    CreatedPosition,
    EventRecord,
    Invoice,
    InvoiceFilter,
    Leadership,
    Page,
    PaymentAttempt,
    ReplicaRecord,
    SubscriptionFilter,
    TermRecord,
)
from middleman.ports.store import StoreUnavailable

SCHEMA_REVISION = "0013"
"""The newest migration this code knows, and the oldest it can work with. Equal to Alembic's head, by test."""

_UNDEFINED_TABLE = "42P01"
_READY_TIMEOUT_S = 2.0
_STALE_AFTER_S = 10.0
_REPLICAS_SHOWN = 100
_STATE_OF_THE_DATABASE = text("""
SELECT (SELECT version_num FROM alembic_version) AS revision,
       pg_is_in_recovery() AS is_in_recovery,
       current_setting('transaction_read_only')::boolean AS is_read_only
""")

# Guarantees: a reader that follows the log skips nothing. A seq is handed out before its transaction commits, so a lower
# one may become visible later; events are therefore in the order of (xact_id, seq), and the log ends before the oldest
# transaction of this database that is at work in the statement's snapshot. All that becomes visible later comes after.
_SETTLED_EVENTS = text("events.xact_id < (SELECT oldest_writer(pg_current_snapshot()))")
# The caller names an event by its seq. Where that event was deleted, the one before it (after it) takes its place.
_AFTER_EVENT = text("""(events.xact_id, events.seq) > (
    coalesce((SELECT p.xact_id FROM events p WHERE p.seq <= :after_seq ORDER BY p.seq DESC LIMIT 1), '0'),
    coalesce((SELECT p.seq FROM events p WHERE p.seq <= :after_seq ORDER BY p.seq DESC LIMIT 1), 0))""")
_BEFORE_EVENT = text("""(events.xact_id, events.seq) < (
    (SELECT p.xact_id FROM events p WHERE p.seq >= :after_seq ORDER BY p.seq LIMIT 1),
    (SELECT p.seq FROM events p WHERE p.seq >= :after_seq ORDER BY p.seq LIMIT 1))""")


@dataclass(frozen=True, slots=True)
class PostgresRecords:
    """See `middleman.ports.records.Records`."""

    reader: Reader

    async def customer(self, record_id: str) -> Customer:
        return await self.reader.one(
            Customer, select(*rows.CUSTOMER).where(customers.c.id == record_id), record_id
        )

    async def customers(self, after: CreatedPosition | None, limit: int) -> Page[Customer]:
        statement = _newest_first(select(*rows.CUSTOMER), customers, after)
        return await self.reader.page(Customer, statement, limit)

    async def plan(self, record_id: str) -> Plan:
        return await self.reader.one(Plan, select(*rows.PLAN).where(plans.c.id == record_id), record_id)

    async def plans(self, after: CreatedPosition | None, limit: int, active: bool | None) -> Page[Plan]:
        statement = select(*rows.PLAN)
        if active is not None:
            statement = statement.where(plans.c.active.is_(active))
        return await self.reader.page(Plan, _newest_first(statement, plans, after), limit)

    async def subscription(self, record_id: str) -> Subscription:
        statement = select(*rows.SUBSCRIPTION).where(subscriptions.c.id == record_id)
        return await self.reader.one(Subscription, statement, record_id)

    async def subscriptions(
        self, after: CreatedPosition | None, limit: int, where: SubscriptionFilter
    ) -> Page[Subscription]:
        statement = select(*rows.SUBSCRIPTION)
        if where.customer_id is not None:
            statement = statement.where(subscriptions.c.customer_id == where.customer_id)
        if where.plan_id is not None:
            statement = statement.where(subscriptions.c.plan_id == where.plan_id)
        if where.status is not None:
            statement = statement.where(_has_status(where.status))
        if where.due_before is not None:
            # A period at or after the end is never due.
            statement = statement.where(
                subscriptions.c.status != "canceled",
                subscriptions.c.next_due_at < where.due_before,
                subscriptions.c.ends_at.is_(None) | (subscriptions.c.next_due_at < subscriptions.c.ends_at),
            )
        return await self.reader.page(Subscription, _newest_first(statement, subscriptions, after), limit)

    async def invoice(self, record_id: str) -> tuple[Invoice, Sequence[PaymentAttempt]]:
        found = await self.reader.one(
            Invoice, select(*rows.INVOICE).where(invoices.c.id == record_id), record_id
        )
        attempts = (
            select(*rows.PAYMENT_ATTEMPT)
            .where(payment_attempts.c.invoice_id == record_id)
            .order_by(payment_attempts.c.attempt_no)
            .limit(1000)  # dunning ends long before
        )
        return found, [rows.as_value(PaymentAttempt, row) for row in await self.reader.rows(attempts)]

    async def invoices(
        self, after: CreatedPosition | None, limit: int, where: InvoiceFilter
    ) -> Page[Invoice]:
        statement = select(*rows.INVOICE)
        if where.subscription_id is not None:
            statement = statement.where(invoices.c.subscription_id == where.subscription_id)
        if where.customer_id is not None:
            statement = statement.where(invoices.c.customer_id == where.customer_id)
        statement = _created_window(statement, invoices, where, after)
        return await self.reader.page(Invoice, statement, limit)

    async def payment_attempt(self, record_id: str) -> PaymentAttempt:
        statement = select(*rows.PAYMENT_ATTEMPT).where(payment_attempts.c.id == record_id)
        return await self.reader.one(PaymentAttempt, statement, record_id)

    async def payment_attempts(
        self, after: CreatedPosition | None, limit: int, where: AttemptFilter
    ) -> Page[PaymentAttempt]:
        statement = select(*rows.PAYMENT_ATTEMPT)
        if where.invoice_id is not None:
            statement = statement.where(payment_attempts.c.invoice_id == where.invoice_id)
        statement = _created_window(statement, payment_attempts, where, after)
        return await self.reader.page(PaymentAttempt, statement, limit)

    async def leadership(self, scope: int) -> Leadership:
        at_fence = (
            select(*rows.TERM)
            .join(fence, (fence.c.scope == terms.c.scope) & (fence.c.term == terms.c.number))
            .where(fence.c.scope == scope)
        )
        stale = replicas.c.last_seen_at < _ago(_STALE_AFTER_S)
        # The list is cut, and names say nothing: who holds the fence comes first, then who was seen last.
        holds = replicas.c.name == func.split_part(
            select(fence.c.holder).where(fence.c.scope == scope).scalar_subquery(), "#", 1
        )
        known = (
            select(
                replicas.c.name,
                replicas.c.role,
                replicas.c.ops_url,
                replicas.c.started_at,
                replicas.c.last_seen_at,
                stale.label("stale"),
            )
            .where(holds | (replicas.c.last_seen_at >= _ago(FORGOTTEN_AFTER_S)))
            .order_by(holds.is_(True).desc(), stale, replicas.c.last_seen_at.desc(), replicas.c.name)
            .limit(_REPLICAS_SHOWN)
        )
        term = [rows.as_value(TermRecord, row) for row in await self.reader.rows(at_fence)]
        members = [rows.as_value(ReplicaRecord, row) for row in await self.reader.rows(known)]
        return Leadership(scope, term[0] if term else None, members)

    async def terms(self, scope: int, after: int | None, limit: int) -> Page[TermRecord]:
        statement = select(*rows.TERM).where(terms.c.scope == scope).order_by(terms.c.number.desc())
        if after is not None:
            statement = statement.where(terms.c.number < after)
        return await self.reader.page(TermRecord, statement, limit)

    async def events(
        self, after_seq: int | None, limit: int, *, newest_first: bool, kind: str | None, subject: str | None
    ) -> Page[EventRecord]:
        order = (events.c.xact_id, events.c.seq)
        statement = select(*rows.EVENT).order_by(*(each.desc() if newest_first else each for each in order))
        if after_seq is not None:
            position = _BEFORE_EVENT if newest_first else _AFTER_EVENT
            statement = statement.where(position.bindparams(after_seq=after_seq))
        if not newest_first:
            statement = statement.where(_SETTLED_EVENTS)
        if kind is not None:
            statement = statement.where(events.c.kind == kind)
        if subject is not None:
            statement = statement.where(events.c.subject == subject)
        return await self.reader.page(EventRecord, statement, limit)

    async def test_clock(self) -> ClockReading:
        row = (await self.reader.rows(READ_TEST_CLOCK))[0]
        return ClockReading(row.environment, row.business_now, row.rate)

    async def ready(self) -> str | None:
        """See the port."""
        return await database_trouble(self.reader)

    def sessions_in_use(self) -> int:
        """See the port."""
        return int(self.reader.engine.pool.checkedout())  # type: ignore[attr-defined]  # QueuePool's, not Pool's


async def database_trouble(reader: Reader) -> str | None:
    """Why the database behind `reader` cannot be worked with, in a few words; None when it can.

    The server is asked whether it takes writes, since a standby and a read-only server answer every read.
    """
    try:
        async with asyncio.timeout(_READY_TIMEOUT_S):
            [found] = await reader.rows(_STATE_OF_THE_DATABASE)
    except ShutOut:
        return "this process cannot log in to the database: correct MIDDLEMAN_DATABASE_URL"
    except ReadOnlyServer as error:
        return str(error)
    except (StoreUnavailable, TimeoutError):
        return "the database does not answer"
    except DBAPIError as error:
        if sqlstate(error) == _UNDEFINED_TABLE:
            return "the database has no schema: run the migrate command"
        return f"the database refuses to say which schema it has: {reason_of(error)}"
    if found.is_in_recovery:
        return "the database server takes no writes: it is a standby, and the address has not moved to the primary"
    if found.is_read_only:
        return "the database server takes no writes: default_transaction_read_only is on"
    revision = found.revision or "(none)"
    if revision < SCHEMA_REVISION:
        return f"the schema is at {revision}, {SCHEMA_REVISION} is needed: run the migrate command"
    return None


def _ago(seconds: float) -> ColumnElement[Any]:
    return func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def _has_status(status: str) -> ColumnElement[bool]:
    """`rows.SUBSCRIPTION_STATUS`, said so that a partial index applies: what is canceled has an end."""
    ended = subscriptions.c.ends_at <= func.business_now()
    if status == "canceled":
        return subscriptions.c.ends_at.is_not(None) & ((subscriptions.c.status == "canceled") | ended)
    return (subscriptions.c.status == _literal(status)) & (subscriptions.c.ends_at.is_(None) | ~ended)


def _literal(status: str) -> BindParameter[str]:
    """In the text of the statement: with a parameter, a plan for all values could use no partial index."""
    return bindparam("status", status, literal_execute=True)


def _created_window(
    statement: Select[Any],
    table: Table,
    where: InvoiceFilter | AttemptFilter,
    after: CreatedPosition | None,
) -> Select[Any]:
    if where.status is not None:
        statement = statement.where(table.c.status == _literal(where.status))
    if where.created_from is not None:
        statement = statement.where(table.c.created_at >= where.created_from)
    if where.created_before is not None:
        statement = statement.where(table.c.created_at < where.created_before)
    return _newest_first(statement, table, after)


def _newest_first(statement: Select[Any], table: Table, after: CreatedPosition | None) -> Select[Any]:
    """By creation, since ids have no order: they derive from keys. Equal instants are ordered by id."""
    created_at, record_id = table.c.created_at, table.c.id
    if after is not None:
        statement = statement.where(tuple_(created_at, record_id) < tuple_(after.created_at, after.id))
    return statement.order_by(created_at.desc(), record_id.desc())
