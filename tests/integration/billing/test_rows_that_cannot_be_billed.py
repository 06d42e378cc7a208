"""One row that cannot be billed keeps no other from being billed, in every source that a leader claims from."""

from datetime import timedelta

import pytest
from tests.support.fake_processor import FakeProcessor
from tests.support.pipeline_works import Works
from tests.support.store_rig import DECLINED, StoreRig, paid

BROKEN = 1001


@pytest.fixture
def works(rig: StoreRig) -> Works:
    return Works(rig, FakeProcessor())


async def set_aside(works: Works) -> int:
    count = await works.rig.owner.fetchval("SELECT count(*) FROM subscriptions WHERE withheld = 'set_aside'")
    return int(count)


async def test_a_thousand_and_one_subscriptions_in_a_lost_time_zone_keep_nobody_waiting(works: Works) -> None:
    await works.subscribe(BROKEN, prefix="broken", due_in="-2 hours")
    await works.rig.owner.execute("UPDATE subscriptions SET time_zone = 'Mars/Olympus_Mons'")
    await works.subscribe(50)
    async with works.leading() as leading:
        await works.until("paid", 50, leading)
    assert await set_aside(works) == BROKEN
    row = await works.rig.row("SELECT * FROM subscriptions WHERE id = 'sub_broken1'")
    assert "time zone" in row["withheld_reason"]
    assert row["next_period_no"] == 0, "its period stays due"
    told = "SELECT count(DISTINCT subject) FROM events WHERE kind = 'subscription.set_aside'"
    assert await works.rig.owner.fetchval(told) == BROKEN


async def test_what_was_set_aside_stays_so_in_the_next_term_and_is_tried_again_after_a_day(
    works: Works,
) -> None:
    await works.subscribe(3, prefix="broken")
    await works.rig.owner.execute("UPDATE subscriptions SET time_zone = 'Mars/Olympus_Mons'")
    async with works.leading() as leading:
        await works.until_some("SELECT count(*) FROM subscriptions WHERE withheld = 'set_aside'")
    await works.rig.owner.execute("UPDATE subscriptions SET time_zone = 'UTC' WHERE id <> 'sub_broken1'")
    await works.subscribe(1)
    async with works.leading() as leading:
        await works.until("paid", 1, leading)
        assert await set_aside(works) == 3, "they wait for their day"
    await works.rig.owner.execute("SELECT set_test_clock('1 day 1 minute', 1)")
    async with works.leading() as leading:
        await works.until("paid", 3, leading)
    assert await set_aside(works) == 1, "one is as broken as before"
    kinds = await works.rig.owner.fetch(
        "SELECT kind, count(*) AS n FROM events WHERE kind LIKE 'subscription.%' GROUP BY kind ORDER BY kind"
    )
    assert [(row["kind"], row["n"]) for row in kinds] == [
        ("subscription.resumed", 2),
        ("subscription.set_aside", 3),
    ]


async def test_a_period_that_the_database_refuses_for_another_reason_is_set_aside_alone(works: Works) -> None:
    """Its number was billed already: UNIQUE (subscription_id, period_no) refuses the whole claim."""
    await works.subscribe(5)
    [first] = (await works.rig.claim(limit=1)).attempts
    await works.rig.pay(first)
    await works.rig.owner.execute(
        "UPDATE subscriptions SET next_period_no = 0, next_due_at = next_due_at - interval '1 month'"
        " WHERE id = $1",
        first.subscription_id,
    )
    async with works.leading() as leading:
        await works.until("paid", 5, leading)
    row = await works.rig.subscription(first.subscription_id)
    assert row["withheld"] == "set_aside"


async def test_an_open_attempt_and_a_declined_invoice_in_a_currency_of_old_end_no_term(works: Works) -> None:
    """HRK was an active code until 2023; a later release lists it no more."""
    await works.subscribe(2, prefix="old")
    [_, declined] = (await works.rig.claim()).attempts
    await works.rig.settle((declined, DECLINED))
    await works.rig.owner.execute("ALTER TABLE invoices DISABLE TRIGGER USER")
    await works.rig.owner.execute("ALTER TABLE payment_attempts DISABLE TRIGGER USER")
    for table in ("subscriptions", "invoices", "payment_attempts"):
        await works.rig.owner.execute(f"UPDATE {table} SET currency = 'HRK'")
    await works.rig.owner.execute("ALTER TABLE invoices ENABLE TRIGGER USER")
    await works.rig.owner.execute("ALTER TABLE payment_attempts ENABLE TRIGGER USER")
    await works.rig.advance(timedelta(days=1, minutes=1))
    await works.subscribe(50)
    async with works.leading() as leading:
        await works.until_some(
            "SELECT count(*) = 50 FROM invoices WHERE status = 'paid' AND currency = 'EUR'"
        )
        await works.until_some("SELECT count(*) FROM payment_attempts WHERE attempt_no = 2")
        assert not leading.task.done()


async def test_an_intent_that_is_bound_to_another_invoice_ends_no_term(works: Works) -> None:
    """UNIQUE (payment_intent_id) refuses the whole batch of bindings."""
    await works.subscribe(1, prefix="other")
    [taken] = (await works.rig.claim()).attempts
    await works.rig.bind(taken, intent="pi_fake_1")  # what the processor names its first intent
    await works.rig.settle((taken, paid(taken)))
    await works.subscribe(20)
    async with works.leading() as leading:
        await works.until("paid", 20, leading)
        await works.until_some("SELECT count(*) FROM payment_attempts WHERE unknown_reason = 'store_refused'")
        assert not leading.task.done()
    row = await works.rig.row("SELECT status FROM payment_attempts WHERE unknown_reason = 'store_refused'")
    assert row["status"] == "open"
