"""Bind and settle on real PostgreSQL: an intent once and for ever, an outcome once, and what follows from it."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.support.database import add_subscriptions
from tests.support.pipeline_rig import CountingObserver, lasting_trust
from tests.support.store_rig import DECLINED, POLICY, STOLEN, StoreRig, intent_of, paid

from middleman.adapters.system_clock import SystemClock
from middleman.billing.fenced_ledger import FencedLedger
from middleman.billing.patience import Patience
from middleman.domain.attempts import Declined, DefiniteOutcome, RequiresAction
from middleman.domain.ids import AttemptId, ChargeId
from middleman.ports.errors import StaleTerm
from middleman.ports.store import Binding, OpenAttempt, Standing


async def claimed(
    rig: StoreRig, count: int = 1, *, due_in: str = "-1 hour", interval: str = "month"
) -> list[OpenAttempt]:
    await add_subscriptions(rig.owner, count, due_in=due_in, interval=interval)
    return list((await rig.claim()).attempts)


async def test_an_intent_is_bound_once_and_the_second_is_told_the_first(rig: StoreRig) -> None:
    first, second = await claimed(rig, 2)
    assert await rig.bind(first) == [intent_of(first)]
    async with rig.store.fenced(rig.term) as transaction:
        assert await transaction.bind([]) == {}
    assert await rig.bind(first, intent="pi_orphan") == [intent_of(first)]
    assert await rig.bind(first, second) == [intent_of(first), intent_of(second)]
    invoice = await rig.invoice(first)
    assert (invoice["payment_intent_id"], invoice["bound_term"]) == (intent_of(first), rig.term.number)
    bound = await rig.owner.fetch("SELECT subject FROM events WHERE kind = 'intent.bound' ORDER BY seq")
    assert [event["subject"] for event in bound] == [first.invoice_id, second.invoice_id]


async def test_a_binding_that_waits_for_another_is_told_what_that_one_bound(rig: StoreRig) -> None:
    """The commit of a binding may still be under way at the server when its repeat arrives."""
    [attempt] = await claimed(rig)
    async with rig.store.fenced(rig.term) as under_way:
        await under_way.bind([Binding(attempt.invoice_id, intent_of(attempt))])
        repeat = asyncio.create_task(rig.bind(attempt, intent="pi_orphan"))
        await rig.until_blocked()
    assert await repeat == [intent_of(attempt)]


async def test_the_database_itself_refuses_to_rebind(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.bind(attempt)
    with pytest.raises(DBAPIError, match="keeps its payment intent for ever"):
        async with rig.store.fenced(rig.term) as transaction:
            await transaction.connection.execute(text("UPDATE invoices SET payment_intent_id = 'pi_other'"))


async def test_a_success_pays_the_invoice(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.bind(attempt)
    assert await rig.settle((attempt, paid(attempt))) == 1
    tried, invoice = await rig.attempt(attempt), await rig.invoice(attempt)
    assert (tried["status"], tried["charge_id"]) == ("succeeded", paid(attempt).charge_id)
    assert tried["settled_term"] == rig.term.number
    assert (invoice["status"], invoice["next_attempt_at"]) == ("paid", None)
    assert (await rig.subscription(attempt.subscription_id))["status"] == "active"
    event = await rig.row(
        "SELECT term, subject, data::text AS data FROM events WHERE kind = 'attempt.settled'"
    )
    assert event["subject"] == attempt.attempt_id
    assert '"outcome": "succeeded"' in event["data"]


async def test_settling_twice_is_a_no_op_whatever_the_second_says(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.bind(attempt)
    assert await rig.settle((attempt, paid(attempt))) == 1
    before = [dict(await rig.attempt(attempt)), dict(await rig.invoice(attempt))]
    assert await rig.settle((attempt, paid(attempt))) == 0
    assert await rig.settle((attempt, DECLINED)) == 0
    assert [dict(await rig.attempt(attempt)), dict(await rig.invoice(attempt))] == before
    assert await rig.owner.fetchval("SELECT count(*) FROM events WHERE kind = 'attempt.settled'") == 1


async def test_a_decline_keeps_the_invoice_open_and_plans_the_next_attempt_in_business_time(
    rig: StoreRig,
) -> None:
    await rig.advance(timedelta(days=400))
    [attempt] = await claimed(rig)
    await rig.settle((attempt, DECLINED))
    tried, invoice = await rig.attempt(attempt), await rig.invoice(attempt)
    assert (tried["status"], tried["code"], tried["decline_code"]) == (
        "declined",
        "card_declined",
        "insufficient_funds",
    )
    assert (invoice["status"], invoice["settled_at"]) == ("open", None)
    in_s = await rig.owner.fetchval(
        "SELECT extract(epoch FROM next_attempt_at - business_now())::float8 FROM invoices WHERE id = $1",
        attempt.invoice_id,
    )
    assert 86_300 < in_s <= 86_400
    assert (await rig.subscription(attempt.subscription_id))["status"] == "past_due"


async def test_a_late_payment_makes_the_subscription_active_again(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.settle((attempt, DECLINED))
    await rig.advance(timedelta(days=2))
    [second] = (await rig.claim_retries()).attempts
    await rig.pay(second)
    assert (await rig.subscription(attempt.subscription_id))["status"] == "active"
    assert (await rig.invoice(attempt))["status"] == "paid"


@pytest.mark.parametrize("ends", ["dunning is over", "the issuer says no for ever"])
async def test_the_end_of_dunning_cancels_the_subscription_at_its_next_period(
    rig: StoreRig, ends: str
) -> None:
    [attempt] = await claimed(rig)
    if ends == "dunning is over":
        for _ in range(2):
            await rig.settle((attempt, DECLINED))
            await rig.advance(timedelta(days=5))
            [attempt] = (await rig.claim_retries()).attempts
    await rig.settle((attempt, STOLEN if ends != "dunning is over" else DECLINED))
    subscription, invoice = await rig.subscription(attempt.subscription_id), await rig.invoice(attempt)
    assert (invoice["status"], invoice["next_attempt_at"]) == ("uncollectible", None)
    assert subscription["status"] == "canceled"
    assert subscription["ends_at"] == subscription["next_due_at"]
    ended = await rig.row("SELECT subject, term FROM events WHERE kind = 'subscription.ended'")
    assert (ended["subject"], ended["term"]) == (subscription["id"], rig.term.number)
    await rig.advance(timedelta(days=60))
    assert (await rig.claim()).attempts == ()


async def test_the_end_of_dunning_does_not_prolong_a_subscription_that_ends_sooner(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.owner.execute("UPDATE subscriptions SET ends_at = now() + interval '1 day'")
    await rig.settle((attempt, STOLEN))
    subscription = await rig.subscription(attempt.subscription_id)
    assert subscription["ends_at"] < subscription["next_due_at"]


async def test_requires_action_waits_for_the_customer(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.settle((attempt, RequiresAction(charge_id=ChargeId("ch_sca"))))
    assert (await rig.attempt(attempt))["status"] == "requires_action"
    invoice = await rig.invoice(attempt)
    assert (invoice["status"], invoice["next_attempt_at"]) == ("requires_action", None)
    assert (await rig.subscription(attempt.subscription_id))["status"] == "past_due"


async def test_a_canceled_intent_ends_the_debt(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.settle((attempt, Declined.because_canceled()))
    assert (await rig.attempt(attempt))["status"] == "canceled"
    assert (await rig.invoice(attempt))["status"] == "uncollectible"


async def claimed_on_top(rig: StoreRig) -> Sequence[OpenAttempt]:
    """The next period, while the one before is open: releases until 0.1 claimed so, and left such invoices."""
    hide = "UPDATE invoices SET status = 'void', settled_at = now() WHERE status = 'open'"
    show = "UPDATE invoices SET status = 'open', settled_at = NULL WHERE status = 'void'"
    for statement in (
        "ALTER TABLE invoices DISABLE TRIGGER USER",
        hide,
        "ALTER TABLE invoices ENABLE TRIGGER USER",
    ):
        await rig.owner.execute(statement)
    attempts = (await rig.claim()).attempts
    for statement in (
        "ALTER TABLE invoices DISABLE TRIGGER USER",
        show,
        "ALTER TABLE invoices ENABLE TRIGGER USER",
    ):
        await rig.owner.execute(statement)
    return attempts


PAID = "paid"
THREE: list[tuple[list[DefiniteOutcome | str], str]] = [
    ([PAID, PAID, PAID], "active"),
    ([PAID, DECLINED, PAID], "past_due"),
    ([DECLINED, PAID, RequiresAction()], "past_due"),
    ([PAID, STOLEN, DECLINED], "canceled"),
]


@pytest.mark.parametrize(("outcomes", "status"), THREE)
async def test_of_several_invoices_that_settle_together_the_worst_news_counts(
    rig: StoreRig, outcomes: list[DefiniteOutcome | str], status: str
) -> None:
    attempts = await claimed(rig, due_in="-2 days -1 hour", interval="day")
    attempts += [*await claimed_on_top(rig), *await claimed_on_top(rig)]
    assert [each.period_no for each in attempts] == [0, 1, 2]
    await rig.bind(*attempts)
    await rig.settle(
        *(
            (each, paid(each) if isinstance(told, str) else told)
            for each, told in zip(attempts, outcomes, strict=True)
        )
    )
    assert (await rig.subscription("sub_s1"))["status"] == status


async def test_a_subscription_stays_past_due_until_its_last_debt_is_paid(rig: StoreRig) -> None:
    attempts = await claimed(rig, due_in="-1 day -1 hour", interval="day")
    attempts += await claimed_on_top(rig)
    await rig.settle(*((each, DECLINED) for each in attempts))
    await rig.advance(timedelta(days=2))
    again = (await rig.claim_retries()).attempts
    statuses = []
    for attempt in again:
        await rig.pay(attempt)
        statuses.append((await rig.subscription("sub_s1"))["status"])
    assert statuses == ["past_due", "active"]


async def test_a_canceled_subscription_is_never_revived(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.owner.execute("UPDATE subscriptions SET status = 'canceled', ends_at = next_due_at")
    await rig.pay(attempt)
    assert (await rig.invoice(attempt))["status"] == "paid"
    assert (await rig.subscription("sub_s1"))["status"] == "canceled"


async def test_an_unknown_outcome_is_noted_and_the_attempt_stays_open(rig: StoreRig) -> None:
    [attempt] = await claimed(rig)
    await rig.bind(attempt)
    await rig.mark_unknown(attempt, "timeout")
    await rig.mark_unknown(attempt, "timeout")
    tried = await rig.attempt(attempt)
    assert (tried["status"], tried["unknown_reason"]) == ("open", "timeout")
    assert [each.attempt_id for each in await rig.open_attempts()] == [attempt.attempt_id]
    assert (await rig.row("SELECT * FROM events WHERE kind = 'attempt.unknown'"))[
        "subject"
    ] == attempt.attempt_id
    await rig.settle((attempt, paid(attempt)))
    await rig.mark_unknown(attempt, "a late note")
    tried = await rig.attempt(attempt)
    assert (tried["status"], tried["unknown_reason"]) == ("succeeded", "timeout"), (
        "why it was unknown stays on record"
    )


async def test_how_attempts_stand_tells_the_repeated_from_the_lost(rig: StoreRig) -> None:
    paid_one, open_one = await claimed(rig, 2)
    await rig.pay(paid_one)
    async with rig.store.fenced(rig.term) as transaction:
        found = await transaction.standings(
            [paid_one.attempt_id, open_one.attempt_id, AttemptId("at_never_0_1")]
        )
    assert found == {
        paid_one.attempt_id: Standing("succeeded", paid(paid_one).charge_id, intent_of(paid_one)),
        open_one.attempt_id: Standing("open", None, None),
    }


async def test_a_success_whose_binding_was_lost_ends_the_term_as_stale(rig: StoreRig) -> None:
    """As after the restore of a snapshot of the disk, which begins no new timeline."""
    [attempt] = await claimed(rig)
    clock = SystemClock()
    ledger = FencedLedger(
        rig.term,
        rig.store,
        lasting_trust(clock),
        POLICY,
        clock,
        lambda: 0.5,
        CountingObserver(),
        Patience(clock, 10.0),
        batch_limit=10,
        linger_s=0.0,
    )
    runs = asyncio.gather(*(run() for run in ledger.runs))
    settling = asyncio.create_task(ledger.settle(attempt, paid(attempt)))
    with pytest.raises(StaleTerm, match="lost the binding"):
        await runs
    settling.cancel()
