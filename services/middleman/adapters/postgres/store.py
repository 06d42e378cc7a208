"""The Store on PostgreSQL: fenced transactions, one statement per batch."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from middleman.adapters.postgres import pipeline_sql as sql
from middleman.adapters.postgres.commits import begin
from middleman.adapters.postgres.errors import refusals, translated
from middleman.adapters.postgres.replacements import plan_for_replacements, retries_at_once
from middleman.adapters.system_clock import SystemClock
from middleman.domain.attempts import Declined, RequiresAction, Succeeded
from middleman.domain.ids import AttemptId, InvoiceId, NoticeId, PaymentIntentId, SubscriptionId
from middleman.domain.money import Money
from middleman.ports.clock import Clock, ClockReading
from middleman.ports.failpoints import Failpoints
from middleman.ports.store import (
    Binding,
    Claim,
    Look,
    NextKeys,
    OpenAttempt,
    ParkedAttempt,
    ParkedNotice,
    PendingNotice,
    SetAside,
    SettledAttempt,
    Standing,
    UnknownAttempt,
)
from middleman.ports.term import Term


@dataclass(frozen=True, slots=True)
class PostgresStore:
    """`Store` on a pool of sessions of the replica's role.

    `fence_off` exists for the judge's negative controls only: it skips naming the term, which works
    only where somebody with the owner's rights has disabled the fence triggers as well.
    """

    engine: AsyncEngine
    failpoints: Failpoints
    fence_off: bool = False
    clock: Clock = field(default_factory=SystemClock)

    @asynccontextmanager
    async def fenced(self, term: Term) -> AsyncIterator["PostgresFencedTransaction"]:
        """See `middleman.ports.store.Store.fenced`."""
        with translated(term), refusals():
            # The transaction holds the fence row, so it has written something: its commit waits for the standbys.
            async with begin(self.engine) as connection:
                yield await PostgresFencedTransaction.enter(connection, term, self.clock, self.fence_off)
                await self.failpoints.hit("in_transaction")


@dataclass(frozen=True, slots=True)
class PostgresFencedTransaction:
    """See `middleman.ports.store.FencedTransaction`."""

    connection: AsyncConnection
    term: Term
    clock: ClockReading

    @classmethod
    async def enter(
        cls, connection: AsyncConnection, term: Term, clock: Clock, fence_off: bool = False
    ) -> "PostgresFencedTransaction":
        """Name the term, hold the fence, and read the server's clock, in one round trip."""
        fence = {"scope": term.scope, "term": term.number, "uid": str(term.uid)}
        asked_s = clock.boottime_s()
        entered = (
            await connection.execute(sql.READ_CLOCK)
            if fence_off
            else await connection.execute(sql.ENTER_TERM, fence)
        )
        return cls(connection, term, ClockReading(entered.one().unix_s, asked_s, clock.boottime_s()))

    async def end_subscriptions(self, limit: int) -> int:
        return int((await self._execute(sql.END_SUBSCRIPTIONS, limit=limit)).rowcount)

    async def claim_due(self, limit: int, max_overdue: int, not_before: datetime | None = None) -> Claim:
        bounds = {"max_overdue": max_overdue, "not_before": not_before}
        return _claim((await self._execute(sql.CLAIM_DUE, limit=limit, **bounds)).all())

    async def oldest_due(self) -> datetime | None:
        oldest: datetime | None = await self.connection.scalar(sql.OLDEST_DUE, {"scope": self.term.scope})
        return oldest

    async def claim_period_of(self, subscription_id: SubscriptionId, max_overdue: int) -> Claim:
        which = {"max_overdue": max_overdue, "subscription_id": subscription_id}
        return _claim((await self._execute(sql.CLAIM_PERIOD_OF, limit=1, **which)).all())

    async def due_subscriptions(self, limit: int) -> Sequence[SubscriptionId]:
        parameters = {"scope": self.term.scope, "limit": limit}
        rows = await self.connection.execute(sql.DUE_SUBSCRIPTIONS, parameters)
        return [SubscriptionId(row.id) for row in rows]

    async def set_aside_due(self, limit: int) -> Sequence[SetAside]:
        rows = await self._execute(sql.SET_ASIDE_DUE, limit=limit)
        return [SetAside(SubscriptionId(row.id), row.reason) for row in rows]

    async def set_aside(self, subscription_id: SubscriptionId, reason: str) -> None:
        which = {"subscription_id": subscription_id, "reason": reason}
        await self.connection.execute(sql.SET_ASIDE_ONE, self._in_term(**which))

    async def retry_set_aside(self, limit: int) -> None:
        await self._execute(sql.RETRY_SET_ASIDE, limit=limit)

    async def due_retries(self, limit: int) -> Sequence[InvoiceId]:
        # What the refused claim had planned was rolled back with it.
        await plan_for_replacements(self.connection, self.term, limit)
        rows = await self.connection.execute(sql.DUE_RETRIES, {"scope": self.term.scope, "limit": limit})
        return [InvoiceId(row.id) for row in rows]

    async def claim_retry_of(self, invoice_id: InvoiceId) -> Claim:
        return _claim((await self._execute(sql.CLAIM_RETRY_OF, limit=1, invoice_id=invoice_id)).all())

    async def set_aside_retry(self, invoice_id: InvoiceId, reason: str) -> None:
        which = {"invoice_id": invoice_id, "reason": reason}
        await self.connection.execute(sql.SET_ASIDE_RETRY, self._in_term(**which))

    async def claim_retries(self, limit: int) -> Claim:
        await plan_for_replacements(self.connection, self.term, limit)
        return _claim((await self._execute(sql.CLAIM_RETRIES, limit=limit)).all())

    async def pending_notices(self, limit: int) -> Sequence[PendingNotice]:
        rows = await self._execute(sql.PENDING_NOTICES, limit=limit)
        return [_notice(row) for row in rows]

    async def heed(self, looks: Sequence[Look]) -> Mapping[NoticeId, OpenAttempt]:
        rows = await self._execute_batch(
            sql.HEED,
            "looks",
            [{"event_id": look.notice_id, "finding": look.finding} for look in looks],
            scope=self.term.scope,
        )
        return {NoticeId(row.event_id): _open_attempt(row) for row in rows}

    async def open_attempts(self, after: AttemptId | None, limit: int) -> Sequence[OpenAttempt]:
        rows = await self.connection.execute(
            sql.OPEN_ATTEMPTS, {"scope": self.term.scope, "after": after, "limit": limit}
        )
        return [_open_attempt(row) for row in rows]

    async def parked_attempts(self, limit: int, carried: Collection[AttemptId]) -> Sequence[OpenAttempt]:
        parameters = {"scope": self.term.scope, "limit": limit, "carried": list(carried)}
        rows = await self.connection.execute(sql.PARKED_ATTEMPTS, parameters)
        return [_open_attempt(row) for row in rows]

    async def parked_notices(self, limit: int, carried: Collection[NoticeId]) -> Sequence[PendingNotice]:
        parameters = {"scope": self.term.scope, "limit": limit, "carried": list(carried)}
        return [_notice(row) for row in await self.connection.execute(sql.PARKED_NOTICES, parameters)]

    async def park_attempts(self, parked: Sequence[ParkedAttempt]) -> None:
        await self._execute_batch(sql.PARK_ATTEMPTS, "attempts", [asdict(each) for each in parked])

    async def park_notices(self, parked: Sequence[ParkedNotice]) -> None:
        rows = [{"event_id": p.notice_id, "times": p.times, "parked_s": p.parked_s} for p in parked]
        await self.connection.execute(sql.PARK_NOTICES, {"notices": orjson.dumps(rows).decode()})

    async def use_next_keys(self, keys: Sequence[NextKeys]) -> None:
        await self._execute_batch(sql.USE_NEXT_KEYS, "keys", [asdict(each) for each in keys])

    async def bind(self, bindings: Sequence[Binding]) -> Mapping[InvoiceId, PaymentIntentId]:
        rows = await self._execute_batch(
            sql.BIND,
            "bindings",
            [{"invoice_id": b.invoice_id, "payment_intent_id": b.payment_intent_id} for b in bindings],
        )
        return {InvoiceId(row.id): PaymentIntentId(row.payment_intent_id) for row in rows}

    async def mark_unknown(self, attempts: Sequence[UnknownAttempt]) -> None:
        await self._execute_batch(
            sql.MARK_UNKNOWN,
            "attempts",
            [{"attempt_id": a.attempt_id, "reason": a.reason} for a in attempts],
        )

    async def settle(self, settled: Sequence[SettledAttempt]) -> int:
        unpaid = [each.attempt_id for each in settled if each.settlement.another_card_may_pay]
        at_once = await retries_at_once(self.connection, self.term, unpaid)
        settled = [each.retried_at_once() if each.attempt_id in at_once else each for each in settled]
        result = await self._execute_batch(sql.SETTLE, "outcomes", [_outcome_row(s) for s in settled])
        return int(result.rowcount)

    async def standings(self, attempts: Collection[AttemptId]) -> Mapping[AttemptId, Standing]:
        rows = await self.connection.execute(sql.STANDINGS, {"attempts": list(attempts)})
        return {AttemptId(row.id): Standing(row.status, row.charge_id, row.payment_intent_id) for row in rows}

    async def _execute(self, statement: Any, *, limit: int, **more: object) -> Any:
        return await self.connection.execute(statement, self._in_term(limit=limit, **more))

    def _in_term(self, **more: object) -> dict[str, object]:
        return {"scope": self.term.scope, "term": self.term.number, **more}

    async def _execute_batch(
        self, statement: Any, name: str, rows: list[dict[str, Any]], **more: object
    ) -> Any:
        return await self.connection.execute(
            statement, {name: orjson.dumps(rows).decode(), "term": self.term.number, **more}
        )


def _claim(rows: Sequence[Row[Any]]) -> Claim:
    opened = [row for row in rows if row.attempt_id is not None]
    return Claim(
        tuple(_open_attempt(row) for row in opened),
        lag_s=max((row.lag_s for row in opened), default=0.0),
        held=tuple(SubscriptionId(row.subscription_id) for row in rows if row.attempt_id is None),
    )


def _notice(row: Row[Any]) -> PendingNotice:
    return PendingNotice(row.event_id, row.payment_intent_id, row.parked_count)


def _open_attempt(row: Row[Any]) -> OpenAttempt:
    return OpenAttempt(
        attempt_id=row.attempt_id,
        attempt_no=row.attempt_no,
        invoice_id=row.invoice_id,
        subscription_id=row.subscription_id,
        period_no=row.period_no,
        amount=Money(row.amount_minor, row.currency),
        processor_customer_id=row.processor_customer_id,
        payment_method_id=row.payment_method_id,
        payment_intent_id=row.payment_intent_id,
        settled_charge_ids=tuple(row.settled_charge_ids),
        create_key_no=row.create_key_no,
        confirm_key_no=row.confirm_key_no,
        parked_count=row.parked_count,
    )


def _outcome_row(settled: SettledAttempt) -> dict[str, Any]:
    settlement = settled.settlement
    after = settlement.next_attempt_after
    row: dict[str, Any] = {
        "attempt_id": settled.attempt_id,
        "attempt_status": settlement.attempt_status,
        "invoice_status": settlement.invoice_status,
        "subscription_status": settlement.subscription_status,
        "next_attempt_after_s": None if after is None else after.total_seconds(),
        "charge_id": settled.outcome.charge_id,
    }
    match settled.outcome:
        case Succeeded():
            return row
        case Declined() as declined:
            codes = {"decline_code": declined.decline_code, "advice_code": declined.advice_code}
            return row | codes | {"code": declined.code, "message": declined.message}
        case RequiresAction() as action:
            return row | {"code": action.code, "message": action.message}
