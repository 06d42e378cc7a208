"""Claims on real PostgreSQL: one invoice and one attempt per due period, in order, however often one asks."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.database import add_subscriptions
from tests.support.store_rig import DECLINED, StoreRig, paid

from middleman.adapters.postgres.accounts_sql import END_AT_PERIOD_END
from middleman.adapters.postgres.pipeline_sql import CLAIM_DUE
from middleman.adapters.system_clock import SystemClock
from middleman.bootstrap import owner
from middleman.domain import ids
from middleman.domain.attempts import RequiresAction
from middleman.domain.money import Money
from middleman.ports.clock import ClockReading
from middleman.ports.store import StoreRefused


async def anchor(rig: StoreRig, subscription_id: str, anchor_local: datetime, period_no: int = 0) -> None:
    """Move a subscription's schedule."""
    await rig.owner.execute(
        "UPDATE subscriptions SET anchor_local = $2, next_period_no = $3,"
        " next_due_at = period_boundary($2, time_zone, interval_unit, interval_count, $3) WHERE id = $1",
        subscription_id,
        anchor_local,
        period_no,
    )


async def test_a_claim_opens_one_invoice_and_one_attempt_with_a_frozen_request_per_due_period(
    rig: StoreRig,
) -> None:
    await add_subscriptions(rig.owner, 3)
    await add_subscriptions(rig.owner, 2, prefix="later", due_in="1 hour")
    claim = await rig.claim()
    assert len(claim.attempts) == 3
    assert 3600 <= claim.lag_s < 3700
    for attempt in claim.attempts:
        assert attempt.invoice_id == ids.invoice_id(attempt.subscription_id, 0)
        assert attempt.attempt_id == ids.attempt_id(attempt.invoice_id, 1)
        assert (attempt.period_no, attempt.attempt_no, attempt.amount) == (0, 1, Money(999, "EUR"))
        assert attempt.processor_customer_id == "cus_" + attempt.subscription_id.removeprefix("sub_")
        assert (attempt.payment_method_id, attempt.payment_intent_id) == ("pm_card_visa", None)
        invoice, subscription = await rig.invoice(attempt), await rig.subscription(attempt.subscription_id)
        assert (invoice["status"], invoice["created_term"]) == ("open", rig.term.number)
        assert subscription["next_period_no"] == 1
        assert subscription["next_due_at"] == invoice["period_end"]
        assert (await rig.attempt(attempt))["status"] == "open"
    assert (await rig.claim()).attempts == ()
    events = await rig.owner.fetch(
        "SELECT subject FROM events WHERE kind = 'invoice.opened' ORDER BY subject"
    )
    assert [event["subject"] for event in events] == sorted(each.invoice_id for each in claim.attempts)


async def test_a_transaction_knows_the_real_clock_of_the_database_whatever_the_test_clock_shows(
    rig: StoreRig,
) -> None:
    await rig.advance(timedelta(days=400))
    clock = SystemClock()
    before_s = clock.boottime_s()
    async with rig.store.fenced(rig.term) as transaction:
        shown = transaction.clock
    now_s = clock.boottime_s()
    assert before_s <= shown.not_before_s <= shown.not_after_s <= now_s
    least, most = shown.ahead_of(ClockReading(clock.unix_s(), now_s, now_s))
    assert least - 1 <= 0 <= most + 1


async def test_a_request_stays_frozen_whatever_the_customer_changes_afterwards(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 1)
    [claimed] = (await rig.claim()).attempts
    await rig.owner.execute("UPDATE customers SET payment_method_id = 'pm_new'")
    await rig.owner.execute("UPDATE subscriptions SET amount_minor = 1")
    assert await rig.open_attempts() == [claimed]


async def test_periods_start_where_the_anchor_says_from_the_31st_of_january_on(rig: StoreRig) -> None:
    [subscription] = await add_subscriptions(rig.owner, 1)
    await anchor(rig, subscription, datetime(2026, 1, 31, 12))  # noqa: DTZ001 -- a wall clock, as the column holds it
    starts = []
    for _ in range(5):
        [attempt] = (await rig.claim()).attempts
        invoice = await rig.invoice(attempt)
        starts.append((attempt.period_no, invoice["period_start"], invoice["period_end"]))
        await rig.pay(attempt)
    days = [
        datetime(2026, month, day, 12, tzinfo=UTC)
        for month, day in ((1, 31), (2, 28), (3, 31), (4, 30), (5, 31), (6, 30))
    ]
    assert starts == [(n, days[n], days[n + 1]) for n in range(5)]


async def test_what_is_due_longest_is_claimed_first(rig: StoreRig) -> None:
    for prefix, due_in in (("b", "-2 days"), ("c", "-1 day"), ("a", "-3 days")):
        await add_subscriptions(rig.owner, 2, prefix=prefix, due_in=due_in)
    order = []
    while (claim := await rig.claim(limit=2)).attempts:
        order.append([each.subscription_id for each in claim.attempts])
    assert order == [["sub_a1", "sub_a2"], ["sub_b1", "sub_b2"], ["sub_c1", "sub_c2"]]


async def test_a_long_outage_is_caught_up_one_period_per_claim_and_subscription(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 2, due_in="-3 days -1 hour", interval="day")
    claims = []
    for _ in range(5):
        claims.append((await rig.claim()).attempts)
        await rig.pay(*claims[-1])
    assert [sorted((each.subscription_id, each.period_no) for each in claim) for claim in claims] == [
        [("sub_s1", n), ("sub_s2", n)] for n in range(4)
    ] + [[]]


async def test_no_period_is_claimed_that_starts_at_or_after_the_end(rig: StoreRig) -> None:
    ends, ends_sooner, runs = await add_subscriptions(rig.owner, 3, due_in="-3 days", interval="day")
    await rig.owner.execute(
        "UPDATE subscriptions SET ends_at = next_due_at + interval '2 days' WHERE id = $1", ends
    )
    await rig.owner.execute("UPDATE subscriptions SET ends_at = next_due_at WHERE id = $1", ends_sooner)
    claimed: list[tuple[str, int]] = []
    while (claim := await rig.claim()).attempts:
        claimed += [(each.subscription_id, each.period_no) for each in claim.attempts]
        await rig.pay(*claim.attempts)
    assert sorted(claimed) == [(ends, 0), (ends, 1), (runs, 0), (runs, 1), (runs, 2), (runs, 3)]


async def test_a_subscription_ends_only_after_everything_before_its_end_was_claimed(rig: StoreRig) -> None:
    [subscription, future] = await add_subscriptions(rig.owner, 2, due_in="-1 day", interval="day")
    await rig.owner.execute(
        "UPDATE subscriptions SET ends_at = now() - interval '1 hour' WHERE id = $1", subscription
    )
    await rig.owner.execute(
        "UPDATE subscriptions SET ends_at = now() + interval '1 hour' WHERE id = $1", future
    )
    assert await rig.end_subscriptions() == 0
    claimed = (await rig.claim()).attempts
    assert len(claimed) == 2
    await rig.pay(*claimed)
    assert await rig.end_subscriptions() == 1
    assert (await rig.subscription(subscription))["status"] == "canceled"
    assert (await rig.subscription(future))["status"] == "active"
    assert (await rig.row("SELECT * FROM events WHERE kind = 'subscription.ended'"))[
        "subject"
    ] == subscription
    await rig.advance(timedelta(days=3))
    # The other had two more days but an end before both: nothing is left to bill.
    assert [each.subscription_id for each in (await rig.claim()).attempts] == [future]
    assert await rig.end_subscriptions() == 1
    assert (await rig.claim()).attempts == ()


async def test_ending_is_bounded_by_its_limit(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 5, due_in="1 day")
    await rig.owner.execute("UPDATE subscriptions SET ends_at = now()")
    assert [await rig.end_subscriptions(limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_claims_at_the_same_moment_share_the_work_and_double_nothing(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 200)
    claims = await asyncio.gather(*(rig.claim(limit=60) for _ in range(5)))
    claimed = [each.attempt_id for claim in claims for each in claim.attempts]
    while (claim := await rig.claim()).attempts:
        claimed += [each.attempt_id for each in claim.attempts]
    assert len(claimed) == len(set(claimed)) == 200
    assert await rig.owner.fetchval("SELECT count(*) FROM invoices") == 200


async def test_a_claim_that_is_rolled_back_leaves_everything_due(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 2)

    async def changes_its_mind() -> None:
        async with rig.store.fenced(rig.term) as transaction:
            assert len((await transaction.claim_due(10, 1000)).attempts) == 2
            raise ValueError("not now")

    with pytest.raises(ValueError, match="not now"):
        await changes_its_mind()
    assert await rig.open_attempts() == []
    assert len((await rig.claim()).attempts) == 2


async def test_business_time_decides_what_is_due(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 1, due_in="10 days")
    assert (await rig.claim()).attempts == ()
    await rig.advance(timedelta(days=11))
    claim = await rig.claim()
    assert len(claim.attempts) == 1
    assert claim.lag_s > 86_000


async def test_a_declined_invoice_is_tried_again_when_dunning_says_so_with_todays_payment_method(
    rig: StoreRig,
) -> None:
    await add_subscriptions(rig.owner, 1)
    [first] = (await rig.claim()).attempts
    await rig.bind(first)
    await rig.settle((first, DECLINED))
    await rig.owner.execute("UPDATE customers SET payment_method_id = 'pm_card_mastercard'")
    assert (await rig.claim_retries()).attempts == (), "not before a day has passed"
    await rig.advance(timedelta(days=1, minutes=1))
    claim = await rig.claim_retries()
    [second] = claim.attempts
    assert 0 < claim.lag_s < 120
    assert (second.attempt_id, second.attempt_no) == (ids.attempt_id(first.invoice_id, 2), 2)
    assert (second.invoice_id, second.period_no, second.amount) == (first.invoice_id, 0, first.amount)
    assert second.payment_intent_id == f"pi_{first.invoice_id}", "one payment intent for ever"
    assert second.payment_method_id == "pm_card_mastercard"
    assert second.settled_charge_ids == (DECLINED.charge_id,)
    assert (await rig.claim_retries()).attempts == ()
    assert (await rig.open_attempts()) == [second]


async def test_retries_are_claimed_oldest_first_and_once(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 6)
    first_claim = (await rig.claim()).attempts
    for attempt in reversed(first_claim):
        await rig.settle((attempt, DECLINED))
    await rig.advance(timedelta(days=2))
    claims = await asyncio.gather(*(rig.claim_retries(limit=4) for _ in range(3)))
    claimed = [each.invoice_id for claim in claims for each in claim.attempts]
    claimed += [each.invoice_id for each in (await rig.claim_retries()).attempts]
    assert sorted(claimed) == sorted(each.invoice_id for each in first_claim)
    for attempt in reversed(await rig.open_attempts()):
        await rig.settle((attempt, DECLINED))
    await rig.advance(timedelta(days=4))
    oldest = await rig.owner.fetch("SELECT id FROM invoices ORDER BY next_attempt_at, id LIMIT 2")
    assert [each.invoice_id for each in (await rig.claim_retries(limit=2)).attempts] == [
        row["id"] for row in oldest
    ]


async def test_open_attempts_come_oldest_first_page_by_page_whatever_is_settled_meanwhile(
    rig: StoreRig,
) -> None:
    await add_subscriptions(rig.owner, 7)
    claimed = [each for _ in range(7) for each in (await rig.claim(limit=1)).attempts]
    page = await rig.open_attempts(limit=3)
    assert page == claimed[:3]
    await rig.pay(*page)
    rest = await rig.open_attempts(after=page[-1], limit=3)
    assert rest == claimed[3:6]
    assert await rig.open_attempts(after=rest[-1], limit=3) == claimed[6:]
    assert await rig.open_attempts(after=claimed[-1]) == []
    assert await rig.open_attempts() == claimed[3:]


async def test_an_open_attempt_shows_the_intent_that_was_bound_and_the_charges_before_it(
    rig: StoreRig,
) -> None:
    await add_subscriptions(rig.owner, 1)
    [first] = (await rig.claim()).attempts
    await rig.bind(first)
    [found] = await rig.open_attempts()
    assert found.payment_intent_id == f"pi_{first.invoice_id}"
    await rig.settle((found, DECLINED))
    await rig.advance(timedelta(days=2))
    [second] = (await rig.claim_retries()).attempts
    await rig.settle((second, paid(second)))
    assert await rig.open_attempts() == []


async def test_another_scope_is_another_leaders_business(rig: StoreRig) -> None:
    [_, other] = await add_subscriptions(rig.owner, 2)
    await rig.owner.execute("UPDATE subscriptions SET scope = 1 WHERE id = $1", other)
    assert [each.subscription_id for each in (await rig.claim()).attempts] == ["sub_s1"]


async def test_a_subscription_beyond_the_database_is_refused_and_can_be_set_aside(rig: StoreRig) -> None:
    """Its time zone was known once: an upgrade of the database, or a restore elsewhere, may lack it."""
    [odd, *good] = sorted(map(ids.SubscriptionId, await add_subscriptions(rig.owner, 3)))
    await rig.owner.execute("UPDATE subscriptions SET time_zone = 'Mars/Olympus_Mons' WHERE id = $1", odd)
    with pytest.raises(StoreRefused, match="time zone"):
        await rig.claim()
    async with rig.store.fenced(rig.term) as transaction:
        assert sorted(await transaction.due_subscriptions(10)) == [odd, *good]
    with pytest.raises(StoreRefused):
        async with rig.store.fenced(rig.term) as transaction:
            await transaction.claim_period_of(odd, 3)
    async with rig.store.fenced(rig.term) as transaction:
        [alone] = (await transaction.claim_period_of(good[0], 3)).attempts
        assert (await transaction.claim_period_of(good[0], 3)).attempts == (), "nothing more of it is due"
        [set_aside] = await transaction.set_aside_due(10)
        assert set_aside.subscription_id == odd
        assert "time zone" in set_aside.reason
        [rest] = (await transaction.claim_due(10, 3)).attempts
    assert [alone.subscription_id, rest.subscription_id] == good
    assert (await rig.subscription(odd))["next_period_no"] == 0, "its period stays due"


async def test_a_claim_can_leave_periods_that_began_before_a_watermark(rig: StoreRig) -> None:
    [old] = await add_subscriptions(rig.owner, 1, prefix="old", due_in="-3 hours")
    [recent] = await add_subscriptions(rig.owner, 1, prefix="recent", due_in="-1 hour")
    watermark = await rig.owner.fetchval("SELECT next_due_at FROM subscriptions WHERE id = $1", recent)
    async with rig.store.fenced(rig.term) as transaction:
        claim = await transaction.claim_due(10, 3, not_before=watermark)
        assert [each.subscription_id for each in claim.attempts] == [recent]
        looked_back = await transaction.claim_due(10, 1000)
        assert [each.subscription_id for each in looked_back.attempts] == [old]
        assert await transaction.oldest_due() is None


async def test_a_claim_from_a_watermark_on_does_not_visit_what_lies_before_it(rig: StoreRig) -> None:
    """An index condition, not a filter: dead rows below the watermark cost nothing."""
    statement = str(CLAIM_DUE).replace(":scope", "0").replace(":limit", "10").replace(":term", "1")
    statement = statement.replace(":max_overdue", "3").replace(":not_before", "now()")
    await rig.owner.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    plan = "\n".join(row[0] for row in await rig.owner.fetch(f"EXPLAIN (COSTS OFF) {statement}"))
    [condition] = [line for line in plan.splitlines() if "Index Cond" in line and "next_due_at" in line]
    assert "next_due_at <= business_now()" in condition
    assert "next_due_at >= COALESCE(" in condition


async def test_no_period_is_claimed_while_the_one_before_is_open_or_waits_for_a_payment(
    rig: StoreRig,
) -> None:
    """One debt at a time: a card that was just declined is not asked for the next period as well."""
    await add_subscriptions(rig.owner, 3, due_in="-1 day -1 hour", interval="day")
    at_work, declined, asked = (await rig.claim()).attempts
    await rig.bind(at_work, declined, asked)
    await rig.settle((declined, DECLINED), (asked, RequiresAction()))
    assert (await rig.claim()).attempts == ()
    await rig.settle((at_work, paid(at_work)))
    [following] = (await rig.claim()).attempts
    assert (following.subscription_id, following.period_no) == (at_work.subscription_id, 1)
    await rig.advance(timedelta(days=1))
    [again] = (await rig.claim_retries()).attempts
    await rig.pay(again)
    [postponed] = [a for a in (await rig.claim()).attempts if a.subscription_id == declined.subscription_id]
    assert postponed.period_no == 1


async def test_a_subscription_with_too_many_periods_overdue_is_held_and_charged_once_it_is_released(
    rig: StoreRig,
) -> None:
    await add_subscriptions(rig.owner, 1, prefix="late", due_in="-3 days -1 hour", interval="day")
    await add_subscriptions(rig.owner, 1, prefix="fine", due_in="-2 days -1 hour", interval="day")
    claim = await rig.claim(max_overdue=3)
    assert [each.subscription_id for each in claim.attempts] == ["sub_fine1"]
    assert claim.held == ("sub_late1",)
    row = await rig.subscription("sub_late1")
    assert (row["withheld"], row["withheld_reason"]) == ("held", "more than 3 periods are overdue")
    assert row["next_period_no"] == 0
    assert (await rig.row("SELECT subject FROM events WHERE kind = 'subscription.held'"))[
        "subject"
    ] == "sub_late1"
    assert (await rig.claim(max_overdue=3)).attempts == ()
    url = rig.database.dsn()
    [listed] = await owner.withheld(url)
    assert (listed.subscription_id, listed.kind) == ("sub_late1", "held")
    assert await owner.release(url, ["sub_late1"]) == 1
    numbers = []
    while attempts := (await rig.claim(max_overdue=3)).attempts:
        numbers += [each.period_no for each in attempts if each.subscription_id == "sub_late1"]
        await rig.pay(*attempts)
    assert numbers == [0, 1, 2, 3], "what was overdue at the release is caught up"
    await rig.advance(timedelta(days=9))
    assert (await rig.claim(max_overdue=3)).attempts == (), "what falls due later is counted anew"


async def test_an_end_at_a_periods_end_holds_though_the_time_zone_data_has_changed_since(
    rig: StoreRig,
) -> None:
    """The boundary was stored by other rules than those of today: the stored one is the end."""
    [subscription] = await add_subscriptions(rig.owner, 1, interval="year")
    [first] = (await rig.claim()).attempts
    await rig.pay(first)
    await rig.owner.execute("UPDATE subscriptions SET next_due_at = next_due_at - interval '1 hour'")
    stored = (await rig.subscription(subscription))["next_due_at"]
    await rig.owner.execute(END_AT_PERIOD_END.text.replace(":id", "$1"), subscription)
    row = await rig.subscription(subscription)
    assert (row["ends_at"], row["ends_before_period"]) == (stored, 1)
    await rig.advance(timedelta(days=370))
    assert (await rig.claim()).attempts == ()
    assert await rig.end_subscriptions() == 1


async def test_an_end_behind_periods_that_are_still_due_is_known_by_its_number(rig: StoreRig) -> None:
    [subscription] = await add_subscriptions(rig.owner, 1, due_in="-2 days -1 hour", interval="day")
    await rig.owner.execute(END_AT_PERIOD_END.text.replace(":id", "$1"), subscription)
    assert (await rig.subscription(subscription))["ends_before_period"] == 3
    # Other rules move every boundary an hour to the front: by the instant alone one more period would begin in time.
    await rig.owner.execute("UPDATE subscriptions SET anchor_local = anchor_local - interval '1 hour'")
    numbers = []
    for _ in range(5):
        attempts = (await rig.claim()).attempts
        numbers += [each.period_no for each in attempts]
        await rig.pay(*attempts)
        await rig.advance(timedelta(days=1))
    assert numbers == [0, 1, 2]
    assert await rig.end_subscriptions() == 1


async def test_what_waits_behind_an_open_period_counts_as_oldest_due(rig: StoreRig) -> None:
    """A watermark that passed it would let a subscription with many overdue periods wait for each look back."""
    [subscription] = await add_subscriptions(rig.owner, 1, due_in="-3 days", interval="day")
    assert len((await rig.claim()).attempts) == 1
    waiting = (await rig.subscription(subscription))["next_due_at"]
    async with rig.store.fenced(rig.term) as transaction:
        assert (await transaction.claim_due(10, 1000)).attempts == ()
        assert await transaction.oldest_due() == waiting
