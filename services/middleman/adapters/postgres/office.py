"""The office on PostgreSQL: raising the fence (DESIGN §2.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.errors import translated
from middleman.ports.errors import OfficeUnavailable, StaleTerm
from middleman.ports.store import StoreUnavailable
from middleman.ports.term import Term

log = structlog.get_logger(__name__)

_TERMINATE = text("SELECT terminate_sessions_of_holder(CAST(:scope AS smallint), :holder)")
_TAKE_OFFICE = text(
    "SELECT number, timeline, previous_timeline"
    " FROM take_office(CAST(:scope AS smallint), :holder, :revision, CAST(:uid AS uuid))"
)
_LEAVE_OFFICE = text("SELECT leave_office(CAST(:scope AS smallint), :term, CAST(:uid AS uuid), :reason)")


@dataclass(frozen=True, slots=True)
class PostgresOffice:
    """`Office` on the replica's pool. `new_uid` makes the random part of a term's identity."""

    engine: AsyncEngine
    new_uid: Callable[[], UUID]

    async def take_office(self, scope: int, holder: str, election_revision: int) -> Term:
        """See `middleman.ports.office.Office.take_office`."""
        uid = self.new_uid()
        try:
            with translated():
                # First, in its own transaction: a frozen predecessor may sleep in one that holds the fence row.
                async with self.engine.begin() as connection:
                    ended = await connection.scalar(_TERMINATE, {"scope": scope, "holder": holder})
                async with self.engine.begin() as connection:
                    request = {
                        "scope": scope,
                        "holder": holder,
                        "revision": election_revision,
                        "uid": str(uid),
                    }
                    row = (await connection.execute(_TAKE_OFFICE, request)).one()
        except StoreUnavailable as error:
            raise OfficeUnavailable(str(error)) from error
        if ended:
            log.info("sessions.terminated", count=ended, token=row.number)
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
                async with self.engine.begin() as connection:
                    left = await connection.scalar(_LEAVE_OFFICE, request)
        except StoreUnavailable as error:
            raise OfficeUnavailable(str(error)) from error
        if not left:
            raise StaleTerm(f"term {term.number} had already ended")
