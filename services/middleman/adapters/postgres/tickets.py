"""Remembered answers on PostgreSQL: the table `api_idempotency_keys`."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from middleman.adapters.postgres import accounts_sql as sql
from middleman.adapters.postgres.errors import sqlstate
from middleman.ports.once import Answer, ProcessorStep, Reservation, Ticket, TicketInUse, TicketReused
from middleman.ports.store import StoreUnavailable

_LOCK_NOT_AVAILABLE = "55P03"


@dataclass(frozen=True, slots=True)
class PostgresTickets:
    """See `middleman.ports.once.TicketWork`."""

    connection: AsyncConnection

    async def reserve(self, ticket: Ticket, resource_id: str, hold_s: float) -> Reservation | Answer:
        """See the port. Waits for a concurrent transaction with the same key up to the role's lock_timeout."""
        parameters = _named(ticket) | {
            "digest": ticket.request_sha256,
            "canonical": ticket.canonical_sha256,
            "resource_id": resource_id,
            "hold_s": hold_s,
        }
        try:
            reserved = (await self.connection.execute(sql.RESERVE, parameters)).one_or_none()
        except DBAPIError as error:
            if sqlstate(error) == _LOCK_NOT_AVAILABLE:
                raise TicketInUse(f"the first request under key {ticket.key!r} is still at work") from error
            raise
        if reserved is not None:
            return Reservation(*reserved)
        if (answer := await self._recall(ticket, hold=False)) is not None:
            return answer
        resuming = {name: value for name, value in parameters.items() if name != "resource_id"}
        resumed = (await self.connection.execute(sql.RESUME, resuming)).one_or_none()
        if resumed is None:
            raise TicketInUse(f"the first request under key {ticket.key!r} is still at work")
        return Reservation(*resumed)

    async def recall(self, ticket: Ticket) -> Answer | None:
        return await self._recall(ticket, hold=True)

    async def _recall(self, ticket: Ticket, *, hold: bool) -> Answer | None:
        statement = sql.RECALL_AND_HOLD if hold else sql.RECALL
        digests = {"digest": ticket.request_sha256, "canonical": ticket.canonical_sha256}
        row: Row[Any] | None = (
            await self.connection.execute(statement, _named(ticket) | digests)
        ).one_or_none()
        if row is None:
            return None
        if not row.is_same_request:
            raise TicketReused(f"key {ticket.key!r} came before with another method, path or body")
        if row.response_status is None:
            return None
        return Answer(row.response_status, bytes(row.response_body), replayed=True)

    async def remember(self, ticket: Ticket, answer: Answer) -> None:
        remembered = await self.connection.execute(
            sql.REMEMBER, _named(ticket) | {"status": answer.status, "body": answer.body}
        )
        if remembered.rowcount == 0:
            # Committing the effect without its answer would let the repeat make the same thing again.
            raise StoreUnavailable(f"the database has lost the reservation of key {ticket.key!r}")

    async def use_key_no(self, ticket: Ticket, step: ProcessorStep, key_no: int) -> int:
        statement = sql.USE_CUSTOMER_KEY_NO if step == "customer" else sql.USE_ATTACH_KEY_NO
        used = await self.connection.scalar(statement, _named(ticket) | {"key_no": key_no})
        # A ticket that was forgotten meanwhile keeps no number; a repeat derives the same keys from the first one on.
        return key_no if used is None else int(used)

    async def release(self, ticket: Ticket, reservation: Reservation) -> None:
        await self.connection.execute(sql.RELEASE, _named(ticket) | {"held_until": reservation.held_until})

    async def withdraw(self, ticket: Ticket, reservation: Reservation) -> None:
        await self.connection.execute(sql.WITHDRAW, _named(ticket) | {"held_until": reservation.held_until})

    async def forget_tickets(self, older_than_s: float, limit: int) -> int:
        """Delete up to `limit` tickets older than that; returns how many."""
        gone = await self.connection.execute(sql.FORGET, {"older_than_s": older_than_s, "limit": limit})
        return gone.rowcount


def _named(ticket: Ticket) -> dict[str, Any]:
    return {"api_key_id": ticket.api_key_id, "key": ticket.key}
