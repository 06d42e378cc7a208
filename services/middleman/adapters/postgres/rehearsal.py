"""Rehearsing a term: what a new leader's first charge would pay for, a follower pays beforehand.

The first use of a statement in a session costs several times the second: it is parsed and planned, the
server loads what it knows of tables and compiles its functions, and our side compiles the statement as
well. Measured on two cores, a first charge spent 25 ms on that, most of its time in the database. So each session
goes through everything that a term does, for real, triggers and fence included, and rolls it back.

Nobody else sees or feels any of it: the term is one of a scope below zero, which has no subscriptions and
no leader, and it never commits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from middleman.adapters.postgres.errors import translated
from middleman.adapters.postgres.office import LEAVE_OFFICE, TAKE_OFFICE, taking_office
from middleman.adapters.postgres.store import PostgresFencedTransaction
from middleman.adapters.system_clock import SystemClock
from middleman.ports.term import Term

_HOLDER = "rehearsal"
_SCOPES = 32768  # from -32768 to -1: two replicas that rehearse at once hardly ever choose the same
# The server makes a plan of its own for each of the first five executions, and may keep one from the sixth on.
_REPEATS = 6


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Goes through a term on the replica's pool. `new_uid` gives random ids."""

    engine: AsyncEngine
    new_uid: Callable[[], UUID]

    async def play(self, *, once: bool = False) -> None:
        """Rehearse on one session: the one that was idle for the longest, as the pool hands them out.

        `once` is enough for a session that has rehearsed before.

        Raises:
            StoreUnavailable: the database gave no answer.
        """
        with translated():
            async with self.engine.connect() as connection:
                for _ in range(1 if once else _REPEATS):
                    async with connection.begin() as transaction:
                        await self._go_through_a_term(connection)
                        await transaction.rollback()

    async def _go_through_a_term(self, connection: AsyncConnection) -> None:
        term = await self._take_office(connection)
        fenced = await PostgresFencedTransaction.enter(connection, term, SystemClock())
        await fenced.open_attempts(None, 1)
        await fenced.end_subscriptions(1)
        await fenced.oldest_due()
        await fenced.claim_due(1, 1)
        await fenced.bind([])
        await fenced.settle([])
        await fenced.pending_notices(1)
        await fenced.claim_retries(1)
        await fenced.mark_unknown([])
        await fenced.standings([])
        leaving = {"scope": term.scope, "term": term.number, "uid": str(term.uid), "reason": _HOLDER}
        await connection.execute(LEAVE_OFFICE, leaving)

    async def _take_office(self, connection: AsyncConnection) -> Term:
        uid = self.new_uid()
        scope = -1 - uid.int % _SCOPES
        row = (await connection.execute(TAKE_OFFICE, taking_office(scope, _HOLDER, 0, uid))).one()
        return Term(number=row.number, uid=uid, scope=scope, holder=_HOLDER, election_revision=0)
