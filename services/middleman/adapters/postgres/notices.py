"""Notices on PostgreSQL: filed by the REST API, each by one statement in autocommit."""

from dataclasses import dataclass

from sqlalchemy import text

from middleman.adapters.postgres.reading import Reader
from middleman.ports.notices import Filing, ProcessorNotice

# Guarantees: an event is filed once, however often it is delivered, and only where it may tell something new. What an
# attempt of ours has already settled as paid, which is nearly every event there is, costs no row.
FILE_NOTICE = text("""
WITH debt AS MATERIALIZED (
    SELECT id, scope, payment_intent_id, status FROM invoices WHERE payment_intent_id = :payment_intent_id
), filed AS (
    INSERT INTO processor_notices (event_id, scope, invoice_id, payment_intent_id, kind, occurred_at)
    SELECT :event_id, scope, id, payment_intent_id, :kind, CAST(:occurred_at AS timestamptz)
    FROM debt WHERE status NOT IN ('paid', 'void')
    ON CONFLICT DO NOTHING
    RETURNING event_id
)
SELECT EXISTS (SELECT FROM debt) AS is_ours, EXISTS (SELECT FROM filed) AS is_filed
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
    """See `middleman.ports.notices.Notices`. `reader` is in autocommit: what it has answered is on disk.

    It repeats a statement on a session that turns out to be dead; here that does no harm either.
    """

    reader: Reader

    async def file(self, notice: ProcessorNotice) -> Filing:
        """See the port."""
        [row] = await self.reader.rows(
            FILE_NOTICE.bindparams(
                event_id=notice.notice_id,
                payment_intent_id=notice.payment_intent_id,
                kind=notice.kind.value,
                occurred_at=notice.occurred_at,
            )
        )
        if row.is_filed:
            return Filing.FILED
        return Filing.KNOWN if row.is_ours else Filing.IGNORED
