"""Notices on real PostgreSQL: filed once by the API's role, and heeded by the leader's, under the fence."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import pytest_asyncio
from tests.support.database import add_subscriptions
from tests.support.store_rig import DECLINED, STOLEN, StoreRig, intent_of, paid

from middleman.adapters.postgres.accounts import PostgresAccounts
from middleman.adapters.postgres.engine import engine
from middleman.adapters.postgres.notices import PostgresNotices
from middleman.domain.attempts import DefiniteOutcome, RequiresAction
from middleman.domain.ids import ChargeId, NoticeId, PaymentIntentId
from middleman.ports.errors import StaleTerm
from middleman.ports.notices import Filing, NoticeKind, ProcessorNotice
from middleman.ports.store import Finding, Look, OpenAttempt, PendingNotice

ACTION = RequiresAction(charge_id=ChargeId("ch_asked"))
AN_HOUR_AGO = datetime(2026, 5, 1, tzinfo=UTC)


@pytest_asyncio.fixture(loop_scope="session")
async def notices(rig: StoreRig) -> AsyncIterator[PostgresNotices]:
    """As the API has them."""
    pool = engine(rig.database.dsn("middleman_api"), application_name="api", pool_size=3)
    yield PostgresNotices(pool)
    await pool.dispose()


def told(
    attempt: OpenAttempt, event: str = "evt_1", kind: NoticeKind = NoticeKind.INTENT_SUCCEEDED
) -> ProcessorNotice:
    return ProcessorNotice(NoticeId(event), kind, intent_of(attempt), AN_HOUR_AGO)


async def bound(rig: StoreRig, outcome: DefiniteOutcome | None = None, *, prefix: str = "s") -> OpenAttempt:
    """One invoice with its intent; its first attempt is open, or settled as `outcome`."""
    await add_subscriptions(rig.owner, 1, prefix=prefix)
    [attempt] = (await rig.claim()).attempts
    await rig.bind(attempt)
    if outcome is not None:
        await rig.settle((attempt, outcome))
    return attempt


async def pending(rig: StoreRig, limit: int = 10) -> list[PendingNotice]:
    async with rig.store.fenced(rig.term) as transaction:
        return list(await transaction.pending_notices(limit))


async def heed(rig: StoreRig, finding: Finding, *events: str) -> dict[NoticeId, OpenAttempt]:
    async with rig.store.fenced(rig.term) as transaction:
        return dict(
            await transaction.heed([Look(NoticeId(event), finding) for event in events or ("evt_1",)])
        )


async def rows(rig: StoreRig) -> "list[asyncpg.Record]":
    return list(await rig.owner.fetch("SELECT * FROM processor_notices ORDER BY event_id"))


async def test_an_event_is_filed_once_however_often_it_is_delivered(
    rig: StoreRig, notices: PostgresNotices
) -> None:
    attempt = await bound(rig, ACTION)
    assert [await notices.file(told(attempt)) for _ in range(3)] == [
        Filing.FILED,
        Filing.KNOWN,
        Filing.KNOWN,
    ]
    [row] = await rows(rig)
    assert (row["event_id"], row["invoice_id"], row["kind"]) == (
        "evt_1",
        attempt.invoice_id,
        "intent.succeeded",
    )
    assert (row["payment_intent_id"], row["occurred_at"], row["scope"]) == (
        intent_of(attempt),
        AN_HOUR_AGO,
        0,
    )
    assert (row["handled_at"], row["handled_term"]) == (None, None)


async def test_what_is_paid_already_and_what_is_not_ours_cost_no_row(
    rig: StoreRig, notices: PostgresNotices
) -> None:
    attempt = await bound(rig)
    await rig.settle((attempt, paid(attempt)))
    assert await notices.file(told(attempt)) is Filing.KNOWN
    stranger = ProcessorNotice(
        NoticeId("evt_2"), NoticeKind.INTENT_CANCELED, PaymentIntentId("pi_else"), AN_HOUR_AGO
    )
    assert await notices.file(stranger) is Filing.IGNORED
    assert await rows(rig) == []


async def test_a_notice_waits_while_its_invoice_is_at_work_and_is_handled_once_that_is_paid(
    rig: StoreRig, notices: PostgresNotices
) -> None:
    attempt = await bound(rig)
    assert await notices.file(told(attempt)) is Filing.FILED
    assert await pending(rig) == []
    assert await heed(rig, Finding.SUCCEEDED) == {}, "the attempt that is open may tell the same"
    assert (await rows(rig))[0]["handled_at"] is None
    await rig.settle((attempt, paid(attempt)))
    assert await pending(rig) == [], "nothing to look into"
    [row] = await rows(rig)
    assert (row["handled_at"] is not None, row["handled_term"]) == (True, rig.term.number)


@pytest.mark.parametrize(
    ("outcome", "was", "subscription"),
    [
        (ACTION, "requires_action", "active"),
        (DECLINED, "open", "active"),
        (STOLEN, "uncollectible", "canceled"),
    ],
)
async def test_an_intent_that_has_succeeded_gets_the_attempt_that_books_it(
    rig: StoreRig, notices: PostgresNotices, outcome: DefiniteOutcome, was: str, subscription: str
) -> None:
    first = await bound(rig, outcome)
    assert (await rig.invoice(first))["status"] == was
    await notices.file(told(first))
    assert await pending(rig) == [PendingNotice(NoticeId("evt_1"), intent_of(first))]
    [second] = (await heed(rig, Finding.SUCCEEDED)).values()
    assert (second.invoice_id, second.attempt_no, second.payment_intent_id) == (
        first.invoice_id,
        2,
        intent_of(first),
    )
    assert second.settled_charge_ids == (outcome.charge_id,)
    assert (second.amount, second.period_no) == (first.amount, 0)
    invoice = await rig.invoice(first)
    assert (invoice["status"], invoice["settled_at"], invoice["next_attempt_at"]) == ("open", None, None)
    event = await rig.row("SELECT * FROM events WHERE kind = 'invoice.reopened'")
    assert event["subject"] == first.invoice_id
    for told_of in ("evt_1", "intent.succeeded", was):
        assert f'"{told_of}"' in event["data"]
    assert await rig.open_attempts() == [second], "as recovery would find it"
    assert await pending(rig) == []
    await rig.settle((second, paid(second)))
    assert (await rig.invoice(first))["status"] == "paid"
    assert (await rig.subscription(first.subscription_id))["status"] == subscription
    booked = await rig.owner.fetchval("SELECT count(*) FROM ledger_entries")
    assert booked == 2, "both sides, once"


async def test_an_intent_that_was_canceled_ends_the_invoice_once(
    rig: StoreRig, notices: PostgresNotices
) -> None:
    waits, ended = await bound(rig, ACTION), await bound(rig, STOLEN, prefix="t")
    await notices.file(told(waits, "evt_1", NoticeKind.INTENT_CANCELED))
    await notices.file(told(ended, "evt_2", NoticeKind.INTENT_CANCELED))
    opened = await heed(rig, Finding.CANCELED, "evt_1", "evt_2")
    assert [attempt.invoice_id for attempt in opened.values()] == [waits.invoice_id]
    assert (await rig.invoice(ended))["status"] == "uncollectible"
    assert all(row["handled_at"] is not None for row in await rows(rig))


async def test_a_notice_with_nothing_in_it_changes_no_invoice(
    rig: StoreRig, notices: PostgresNotices
) -> None:
    waits, dunned = await bound(rig, ACTION), await bound(rig, DECLINED, prefix="t")
    before = [await rig.invoice(each) for each in (waits, dunned)]
    await notices.file(told(waits, "evt_1"))
    await notices.file(told(dunned, "evt_2"))
    assert len(await pending(rig)) == 2
    assert await heed(rig, Finding.NEITHER, "evt_1", "evt_2") == {}
    assert [await rig.invoice(each) for each in (waits, dunned)] == before
    assert await rig.open_attempts() == []
    assert await pending(rig) == []
    assert not await rig.owner.fetchval("SELECT count(*) FROM events WHERE kind = 'invoice.reopened'")


async def test_two_events_about_one_invoice_open_one_attempt(rig: StoreRig, notices: PostgresNotices) -> None:
    attempt = await bound(rig, ACTION)
    await notices.file(told(attempt, "evt_2", NoticeKind.INTENT_CANCELED))
    await notices.file(told(attempt, "evt_1"))
    assert [each.notice_id for each in await pending(rig)] == ["evt_2", "evt_1"], "in the order of arrival"
    assert [each.notice_id for each in await pending(rig, limit=1)] == ["evt_2"]
    assert len(await heed(rig, Finding.SUCCEEDED, "evt_1", "evt_2")) == 1
    assert await heed(rig, Finding.SUCCEEDED, "evt_1", "evt_2") == {}, "repeating it opens none"
    assert len(await rig.open_attempts()) == 1


async def test_a_stale_term_heeds_nothing(rig: StoreRig, notices: PostgresNotices) -> None:
    attempt = await bound(rig, ACTION)
    await notices.file(told(attempt))
    await rig.superseded()
    with pytest.raises(StaleTerm):
        await heed(rig, Finding.SUCCEEDED)
    assert (await rig.invoice(attempt))["status"] == "requires_action"
    assert (await rows(rig))[0]["handled_at"] is None


async def test_each_role_may_do_its_part_and_no_more(rig: StoreRig, notices: PostgresNotices) -> None:
    attempt = await bound(rig, ACTION)
    await notices.file(told(attempt))
    forbidden = {
        "middleman_api": ("UPDATE processor_notices SET handled_at = now(), handled_term = 1",),
        "middleman_replica": (
            "UPDATE processor_notices SET kind = 'intent.canceled'",
            "DELETE FROM processor_notices",
            "INSERT INTO processor_notices SELECT * FROM processor_notices",
        ),
        "middleman_judge": ("DELETE FROM processor_notices",),
    }
    for role, statements in forbidden.items():
        async with rig.database.connect(role) as session:
            assert await session.fetchval("SELECT count(*) FROM processor_notices") == 1
            for statement in statements:
                with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
                    await session.execute(statement)


async def test_notices_long_handled_are_forgotten_and_no_others(
    rig: StoreRig, notices: PostgresNotices
) -> None:
    attempt = await bound(rig, ACTION)
    for event in ("evt_1", "evt_2", "evt_3"):
        await notices.file(told(attempt, event))
    await heed(rig, Finding.NEITHER, "evt_1", "evt_2")
    await rig.owner.execute(
        "UPDATE processor_notices SET handled_at = handled_at - interval '31 days' WHERE event_id = 'evt_1'"
    )
    await rig.owner.execute("UPDATE processor_notices SET received_at = now() - interval '90 days'")
    pool = engine(rig.database.dsn("middleman_api"), application_name="api", pool_size=1)
    try:
        accounts = PostgresAccounts(pool)
        thirty_days_s = timedelta(days=30).total_seconds()
        assert await accounts.transact(lambda each: each.forget_notices(thirty_days_s, 10)) == 1
    finally:
        await pool.dispose()
    assert [row["event_id"] for row in await rows(rig)] == ["evt_2", "evt_3"]
