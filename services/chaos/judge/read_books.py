"""Reads the books in one read-only snapshot, as the role that can do nothing else."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chaos.judge.books import (
    Booking,
    Books,
    Fence,
    Invoice,
    Subscription,
    Term,
    UnpaidAttempt,
    WriteRun,
)
from chaos.judge.zone_rules import compared, read_zone_rules

if TYPE_CHECKING:
    from datetime import datetime

    import asyncpg

FETCH_SIZE = 5000

_CLOCK = "SELECT business_now(), clock_timestamp(), rate FROM test_clock"

_SUBSCRIPTIONS = """
    SELECT id, amount_minor, currency, interval_unit, interval_count, anchor_local, time_zone, next_period_no,
           ends_at, created_at
    FROM subscriptions
"""

_INVOICES = """
    SELECT i.id, i.subscription_id, i.period_no, i.period_start, i.period_end, i.amount_minor, i.currency,
           i.processor_customer_id, i.status, i.payment_intent_id, i.next_attempt_at, i.settled_at, i.created_term,
           i.bound_term, paid.settled_term, trying.id IS NOT NULL AS attempt_open, paid.charge_id,
           first.settled_at AS first_outcome_at, last.status AS last_attempt,
           replaced.customer_id IS NOT NULL AS card_replaced
    FROM invoices i
    LEFT JOIN payment_attempts first ON first.invoice_id = i.id AND first.attempt_no = 1
    LEFT JOIN payment_attempts paid ON paid.invoice_id = i.id AND paid.status = 'succeeded'
    LEFT JOIN payment_attempts trying ON trying.invoice_id = i.id AND trying.status = 'open'
    LEFT JOIN (
        SELECT DISTINCT ON (invoice_id) invoice_id, status FROM payment_attempts
        ORDER BY invoice_id DESC, attempt_no DESC  -- as the unique index has it, read backwards: a million need no sorting
    ) last ON last.invoice_id = i.id
    LEFT JOIN payment_method_replacements replaced
        ON replaced.customer_id = i.customer_id AND replaced.scope = i.scope
"""

_UNPAID_ATTEMPTS = """
    SELECT a.id, a.invoice_id, a.status, a.charge_id, a.code, a.settled_at,
           NOT EXISTS (
               SELECT FROM payment_attempts l WHERE l.invoice_id = a.invoice_id AND l.attempt_no > a.attempt_no
           ) AS is_last
    FROM payment_attempts a WHERE a.status NOT IN ('open', 'succeeded')
"""

_BOOKINGS = """
    SELECT attempt_id, invoice_id, currency,
           coalesce(sum(amount_minor) FILTER (WHERE account = 'processor_balance'), 0)::bigint AS received_minor,
           sum(amount_minor)::bigint AS balance_minor, min(recorded_at) AS recorded_at
    FROM ledger_entries GROUP BY attempt_id, invoice_id, currency
"""

# The instant at which an event's transaction committed, or null where the database keeps it no longer. PostgreSQL looks
# it up by 32 bits of the transaction's id, and after 2^32 transactions by those of another one: only the younger half
# of the ids is asked about. What is from before events kept their transaction's id has '0'.
_WRITES = """
    WITH write AS (
        SELECT seq, kind, subject, term,
               CASE WHEN xact_id > '0' AND xact_id < pg_snapshot_xmax(pg_current_snapshot())
                     AND xact_id::text::bigint > pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 2147483648
                    THEN pg_xact_commit_timestamp(xact_id::xid) END AS committed_at
        FROM events WHERE term IS NOT NULL
    )
"""

# Runs of equal terms in commit order ("gaps and islands"), so that a million writes travel as a few
# rows. Equal instants are put in the order of their terms: a tie is no evidence.
_WRITE_RUNS = (
    _WRITES  # noqa: S608  # both parts stand here in full
    + """
    , marked AS (
        SELECT *, term IS DISTINCT FROM lag(term) OVER commit_order AS begins
        FROM write WHERE committed_at IS NOT NULL
        WINDOW commit_order AS (ORDER BY committed_at, term, seq)
    ), numbered AS (
        SELECT *, count(*) FILTER (WHERE begins) OVER (ORDER BY committed_at, term, seq) AS run FROM marked
    )
    SELECT term, count(*) AS writes, min(committed_at) AS first_committed_at,
           max(kind) FILTER (WHERE begins) AS first_kind, max(subject) FILTER (WHERE begins) AS first_subject
    FROM numbered GROUP BY run, term ORDER BY run
"""
)

_UNTRACKED = _WRITES + "SELECT count(*) FROM write WHERE committed_at IS NULL"  # noqa: S608  # as above


async def database_clock(connection: "asyncpg.Connection[Any]") -> "datetime":
    """The database's real time, now."""
    instant: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return instant


async def read_books(connection: "asyncpg.Connection[Any]", ledger_read_began: "datetime") -> Books:
    """One REPEATABLE READ, READ ONLY transaction over everything the invariants need."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        business_now, taken_at, rate = await connection.fetchrow(_CLOCK)
        tracked = await connection.fetchval("SHOW track_commit_timestamp") == "on"
        zones = await read_zone_rules(connection)
        return Books(
            business_now=business_now,
            clock_rate=rate,
            taken_at=taken_at,
            ledger_read_began=ledger_read_began,
            subscriptions={
                row["id"]: replace(Subscription(*row), rules=zones[row["time_zone"]])
                async for row in connection.cursor(_SUBSCRIPTIONS, prefetch=FETCH_SIZE)
            },
            invoices=tuple(
                [Invoice(*row) async for row in connection.cursor(_INVOICES, prefetch=FETCH_SIZE)]
            ),
            unpaid_attempts=tuple(
                [
                    UnpaidAttempt(*row)
                    async for row in connection.cursor(_UNPAID_ATTEMPTS, prefetch=FETCH_SIZE)
                ]
            ),
            bookings=tuple(
                [Booking(*row) async for row in connection.cursor(_BOOKINGS, prefetch=FETCH_SIZE)]
            ),
            terms=tuple(
                Term(row["scope"], row["number"], str(row["uid"]), row["holder"], row["started_at"])
                for row in await connection.fetch(
                    "SELECT scope, number, uid, holder, started_at FROM terms ORDER BY scope, number"
                )
            ),
            fences=tuple(
                Fence(row["scope"], row["term"], str(row["uid"]))
                for row in await connection.fetch("SELECT scope, term, uid FROM fence ORDER BY scope")
            ),
            write_runs=(
                tuple([WriteRun(*row) async for row in connection.cursor(_WRITE_RUNS, prefetch=FETCH_SIZE)])
                if tracked
                else None
            ),
            untracked_writes=await connection.fetchval(_UNTRACKED) if tracked else 0,
            time_zone_note=compared(zones),
        )
