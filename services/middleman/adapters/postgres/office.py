"""The office on PostgreSQL: raising the fence (DESIGN §2.2)."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.errors import translated
from middleman.ports.errors import OfficeUnavailable, StaleTerm
from middleman.ports.office import DRAINED
from middleman.ports.store import StoreUnavailable
from middleman.ports.term import Term

log = structlog.get_logger(__name__)

# Guarantees (DESIGN §2.2): the sessions of the holder before are told to end first, since a frozen one may
# sleep in a transaction that holds the fence row; then the fence is raised, as soon as that row is free. A holder
# that has put on record that its pipeline had drained holds nothing, and ends its sessions by itself. The second
# call needs what the first returned, so that no plan can turn them round. One statement is one round trip, and
# without a transaction around it the only one.
TAKE_OFFICE = text("""
WITH ended AS MATERIALIZED (
    SELECT CASE WHEN EXISTS (
        SELECT FROM fence f JOIN terms t ON t.scope = f.scope AND t.number = f.term AND t.uid = f.uid
        WHERE f.scope = CAST(:scope AS smallint) AND t.ended_at IS NOT NULL AND t.end_reason = :drained
    ) THEN 0 ELSE terminate_sessions_of_holder(CAST(:scope AS smallint), :holder) END AS sessions
)
SELECT ended.sessions, office.number, office.timeline, office.previous_timeline
FROM ended CROSS JOIN LATERAL take_office(
    CAST(:scope AS smallint), :holder, :revision,
    CASE WHEN ended.sessions IS NOT NULL THEN CAST(:uid AS uuid) END) AS office
""")
LEAVE_OFFICE = text("SELECT leave_office(CAST(:scope AS smallint), :term, CAST(:uid AS uuid), :reason)")


def taking_office(scope: int, holder: str, election_revision: int, uid: UUID) -> dict[str, Any]:
    """The parameters of `TAKE_OFFICE`."""
    return {
        "scope": scope,
        "holder": holder,
        "revision": election_revision,
        "uid": str(uid),
        "drained": DRAINED,
    }


class PostgresOffice:
    """`Office` on the replica's pool. `new_uid` makes the random part of a term's identity."""

    def __init__(self, engine: AsyncEngine, new_uid: Callable[[], UUID]) -> None:
        # The same sessions; each statement commits by itself, which spares two round trips.
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._new_uid = new_uid

    async def take_office(self, scope: int, holder: str, election_revision: int) -> Term:
        """See `middleman.ports.office.Office.take_office`."""
        uid = self._new_uid()
        request = taking_office(scope, holder, election_revision, uid)
        try:
            with translated():
                async with self._engine.connect() as connection:
                    row = (await connection.execute(TAKE_OFFICE, request)).one()
        except StoreUnavailable as error:
            raise OfficeUnavailable(str(error)) from error
        if row.sessions:
            log.info("sessions.terminated", count=row.sessions, token=row.number)
        if row.previous_timeline is not None and row.previous_timeline != row.timeline:
            # The database failed over and may have lost commits (DESIGN §2.9, docs/adr/0003).
            log.error("database.timeline_changed", before=row.previous_timeline, now=row.timeline)
        return Term(
            number=row.number, uid=uid, scope=scope, holder=holder, election_revision=election_revision
        )

    async def leave(self, term: Term, reason: str) -> None:
        """See `middleman.ports.office.Office.leave`."""
        request = {"scope": term.scope, "term": term.number, "uid": str(term.uid), "reason": reason}
        try:
            with translated(term):
                async with self._engine.connect() as connection:
                    left = await connection.scalar(LEAVE_OFFICE, request)
        except StoreUnavailable as error:
            raise OfficeUnavailable(str(error)) from error
        if not left:
            raise StaleTerm(f"term {term.number} had already ended")
