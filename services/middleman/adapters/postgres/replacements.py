"""A customer's payment method was replaced: what waits for a payment gets its next attempt at once.

The REST API may not write invoices (DESIGN §2.3). It files the replacement in the transaction that stores the new
payment method, and the leader plans the attempts under the fence. An invoice is planned once per payment method: its
last attempt tells which one was tried. So a replacement that is filed twice, or handled twice, plans nothing twice.
"""

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from middleman.domain.ids import AttemptId
from middleman.ports.term import Term

# One row per customer and scope. The newest payment method counts, and the leader has to look at it again.
FILE_REPLACEMENT = text("""
INSERT INTO payment_method_replacements AS r (customer_id, scope, payment_method_id)
VALUES (:customer_id, 0, :payment_method_id)
ON CONFLICT (customer_id, scope) DO UPDATE
    SET payment_method_id = EXCLUDED.payment_method_id, filed_at = clock_timestamp(), handled_at = NULL,
        handled_term = NULL
""")

# Guarantees: nothing that waits when a payment method is replaced goes on waiting, and an invoice at work is left alone.
# A replacement is handled only where every unsettled invoice of its customer was locked and looked at. One that is at work
# is planned by its settlement (RETRIES_AT_ONCE); the lock orders the two, so that one of them sees the new payment method.
# Nobody waits for a lock here: what is locked is looked at in the next round of claims. The row that is read is the
# newest version, and carries the payment method: the snapshot of `customers` could be older.
PLAN_FOR_REPLACEMENTS = text("""
WITH filed AS MATERIALIZED (
    SELECT customer_id, payment_method_id FROM payment_method_replacements
    WHERE scope = :scope AND handled_at IS NULL
    ORDER BY filed_at, customer_id LIMIT :limit
    FOR NO KEY UPDATE SKIP LOCKED
), unsettled AS MATERIALIZED (
    SELECT i.id, i.customer_id FROM filed f JOIN invoices i ON i.customer_id = f.customer_id
    WHERE i.scope = :scope
      AND (i.status = 'requires_action'
           OR (i.status = 'open' AND (i.next_attempt_at IS NULL OR i.next_attempt_at > business_now())))
), locked AS MATERIALIZED (  -- what waits goes before what is at work
    SELECT i.id, i.customer_id, i.status, i.next_attempt_at
    FROM invoices i JOIN unsettled u ON u.id = i.id
    ORDER BY i.status = 'open' AND i.next_attempt_at IS NULL, i.id LIMIT :most_invoices
    FOR NO KEY UPDATE OF i SKIP LOCKED
), planned AS (
    UPDATE invoices i SET status = 'open', settled_at = NULL, next_attempt_at = business_now()
    FROM locked l JOIN filed f ON f.customer_id = l.customer_id
    WHERE i.id = l.id AND (l.status = 'requires_action' OR (l.status = 'open' AND l.next_attempt_at IS NOT NULL))
      AND f.payment_method_id IS DISTINCT FROM (
          SELECT t.payment_method_id FROM payment_attempts t
          WHERE t.invoice_id = i.id ORDER BY t.attempt_no DESC LIMIT 1)
    RETURNING i.id, i.subscription_id, l.status AS was, f.payment_method_id
), handled AS (
    UPDATE payment_method_replacements r SET handled_at = clock_timestamp(), handled_term = :term
    FROM filed f
    WHERE r.customer_id = f.customer_id AND r.scope = :scope
      AND NOT EXISTS (SELECT FROM unsettled u
                      WHERE u.customer_id = f.customer_id AND u.id NOT IN (SELECT id FROM locked))
)
INSERT INTO events (kind, term, subject, subscription_id, data)
SELECT 'invoice.retry_planned', :term, id, subscription_id,
       jsonb_build_object('was', was, 'payment_method_id', payment_method_id)
FROM planned
""")

LOCK_INVOICES_OF = text("""
SELECT i.id FROM invoices i JOIN payment_attempts t ON t.invoice_id = i.id
WHERE t.id = ANY (CAST(:attempts AS text[]))
ORDER BY i.id
FOR NO KEY UPDATE OF i
""")

# Guarantees: a payment method that was replaced while an attempt was at work gets the next attempt at once. Two statements
# on purpose: this one's snapshot is taken once the invoices are locked, so it sees what PLAN_FOR_REPLACEMENTS saw before.
RETRIES_AT_ONCE = text("""
WITH outdated AS MATERIALIZED (
    SELECT t.id, t.invoice_id, i.subscription_id, r.payment_method_id
    FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
    JOIN payment_method_replacements r ON r.customer_id = i.customer_id AND r.scope = i.scope
    WHERE t.id = ANY (CAST(:attempts AS text[])) AND t.status = 'open'
      AND r.payment_method_id <> t.payment_method_id
), logged AS (
    INSERT INTO events (kind, term, subject, subscription_id, data)
    SELECT 'invoice.retry_planned', :term, invoice_id, subscription_id,
           jsonb_build_object('was', 'open', 'payment_method_id', payment_method_id)
    FROM outdated
)
SELECT id FROM outdated
""")

_MOST_INVOICES = 1000
"""How many invoices one round of claims plans or passes over; the rest has its turn in the next round."""


async def plan_for_replacements(connection: AsyncConnection, term: Term, limit: int) -> int:
    """Plan the next attempt of what waits, for up to `limit` customers; returns how many invoices that were."""
    parameters = {
        "scope": term.scope,
        "term": term.number,
        "limit": limit,
        "most_invoices": _MOST_INVOICES,
    }
    return int((await connection.execute(PLAN_FOR_REPLACEMENTS, parameters)).rowcount)


async def retries_at_once(
    connection: AsyncConnection, term: Term, unpaid: Sequence[AttemptId]
) -> frozenset[AttemptId]:
    """Which of the open attempts, about to be settled without a payment, were frozen with a replaced payment method."""
    if not unpaid:
        return frozenset()
    await connection.execute(LOCK_INVOICES_OF, {"attempts": list(unpaid)})
    rows = await connection.execute(RETRIES_AT_ONCE, {"attempts": list(unpaid), "term": term.number})
    return frozenset(AttemptId(row.id) for row in rows)
