"""Notices on PostgreSQL: filed by the REST API, each by one statement."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from middleman.adapters.postgres.commits import transact, wait_for_what_was_read
from middleman.ports.notices import Filing, ProcessorNotice

# Guarantees: an event is filed once, however often it is delivered, and only where it may tell something new. What an
# attempt of ours has already settled as paid, which is nearly every event there is, costs no row.
FILE_NOTICE = text("""
WITH debt AS MATERIALIZED (
    SELECT id, scope, payment_intent_id, status NOT IN ('paid', 'void') AS is_unsettled
    FROM invoices WHERE payment_intent_id = :payment_intent_id
), filed AS (
    INSERT INTO processor_notices (event_id, scope, invoice_id, payment_intent_id, kind, occurred_at)
    SELECT :event_id, scope, id, payment_intent_id, :kind, CAST(:occurred_at AS timestamptz)
    FROM debt WHERE is_unsettled
    ON CONFLICT DO NOTHING
    RETURNING event_id
)
SELECT EXISTS (SELECT FROM debt) AS is_ours, EXISTS (SELECT FROM filed) AS is_filed,
       EXISTS (SELECT FROM debt WHERE is_unsettled) AS is_unsettled
""")

FORGET_NOTICES = text("""
DELETE FROM processor_notices WHERE event_id IN (
    SELECT event_id FROM processor_notices
    WHERE handled_at < now() - make_interval(secs => :older_than_s)
    ORDER BY handled_at LIMIT :limit
)
""")


@dataclass(frozen=True, slots=True)
class PostgresNotices:
    """See `middleman.ports.notices.Notices`. A transaction has `timeout_s`, the wait for a session included."""

    engine: AsyncEngine
    timeout_s: float = 5.0

    async def file(self, notice: ProcessorNotice) -> Filing:
        """See the port."""
        parameters = {
            "event_id": notice.notice_id,
            "payment_intent_id": notice.payment_intent_id,
            "kind": notice.kind.value,
            "occurred_at": notice.occurred_at,
        }

        async def work(connection: AsyncConnection) -> Filing:
            row = (await connection.execute(FILE_NOTICE, parameters)).one()
            if row.is_filed:
                return Filing.FILED
            if row.is_unsettled:
                # The notice is there, perhaps on this machine only. Where the invoice is settled no standby needs to
                # know: one that has not heard of the settlement has an open attempt, and that is read again.
                await wait_for_what_was_read(connection)
            return Filing.KNOWN if row.is_ours else Filing.IGNORED

        return await transact(self.engine, self.timeout_s, work)
