"""A card is replaced: what waits for a payment gets its next attempt at once, and only once per card."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from tests.support.database import add_subscriptions
from tests.support.fake_processor import FakeProcessor, Operation
from tests.support.pipeline_works import DEADLINE_S, Works
from tests.support.store_rig import DECLINED, STOLEN, StoreRig, paid

from middleman.adapters.postgres.accounts import PostgresAccounts
from middleman.adapters.postgres.engine import engine
from middleman.adapters.postgres.replacements import PLAN_FOR_REPLACEMENTS
from middleman.domain.attempts import Declined, DefiniteOutcome, RequiresAction
from middleman.domain.ids import ChargeId, CustomerId, PaymentMethodId
from middleman.ports.errors import StaleTerm
from middleman.ports.store import OpenAttempt

ACTION = RequiresAction(charge_id=ChargeId("ch_asked"))
PLANNED = "SELECT count(*) FROM events WHERE kind = 'invoice.retry_planned'"
UNHANDLED = "SELECT count(*) FROM payment_method_replacements WHERE handled_at IS NULL"


@pytest_asyncio.fixture(loop_scope="session")
async def accounts(rig: StoreRig) -> AsyncIterator[PostgresAccounts]:
    """As the API has them."""
    pool = engine(rig.database.dsn("middleman_api"), application_name="api", pool_size=3)
    yield PostgresAccounts(pool)
    await pool.dispose()


@pytest.fixture
def works(rig: StoreRig) -> Works:
    return Works(rig, FakeProcessor())


async def replace_card(accounts: PostgresAccounts, card: str = "pm_new", customer: str = "cu_s1") -> None:
    await accounts.transact(lambda each: each.set_payment_method(CustomerId(customer), PaymentMethodId(card)))


async def at_work(rig: StoreRig, *, prefix: str = "s") -> OpenAttempt:
    """One invoice with its intent, whose first attempt is open."""
    await add_subscriptions(rig.owner, 1, prefix=prefix)
    [attempt] = (await rig.claim()).attempts
    await rig.bind(attempt)
    return attempt


async def waiting(rig: StoreRig, outcome: DefiniteOutcome, *, prefix: str = "s") -> OpenAttempt:
    """One invoice whose first attempt was settled so."""
    attempt = await at_work(rig, prefix=prefix)
    await rig.settle((attempt, outcome))
    return attempt


@pytest.mark.parametrize("outcome", [ACTION, DECLINED], ids=["requires action", "in dunning"])
async def test_what_waits_is_tried_at_once_with_the_new_card(
    rig: StoreRig, accounts: PostgresAccounts, outcome: DefiniteOutcome
) -> None:
    first = await waiting(rig, outcome)
    was = (await rig.invoice(first))["status"]
    assert (await rig.claim_retries()).attempts == ()
    await replace_card(accounts)
    [second] = (await rig.claim_retries()).attempts
    assert (second.invoice_id, second.attempt_no, second.payment_method_id) == (first.invoice_id, 2, "pm_new")
    assert second.settled_charge_ids == (outcome.charge_id,)
    event = await rig.row("SELECT * FROM events WHERE kind = 'invoice.retry_planned'")
    assert (event["subject"], event["term"]) == (first.invoice_id, rig.term.number)
    assert f'"was": "{was}"' in event["data"]
    await rig.settle((second, paid(second)))
    assert (await rig.invoice(first))["status"] == "paid"
    assert (await rig.subscription(first.subscription_id))["status"] == "active"
    assert await rig.owner.fetchval("SELECT count(*) FROM ledger_entries") == 2, "both sides, once"


async def test_the_same_card_given_again_plans_nothing_twice(
    rig: StoreRig, accounts: PostgresAccounts
) -> None:
    first = await waiting(rig, ACTION)
    await replace_card(accounts)
    [second] = (await rig.claim_retries()).attempts
    await rig.settle((second, ACTION))
    for _ in range(2):
        await replace_card(accounts)
        assert (await rig.claim_retries()).attempts == ()
    invoice = await rig.invoice(first)
    assert (invoice["status"], invoice["attempt_count"]) == ("requires_action", 2)
    assert await rig.owner.fetchval(PLANNED) == 1
    assert await rig.owner.fetchval(UNHANDLED) == 0
    await replace_card(accounts, "pm_newer")
    assert [each.payment_method_id for each in (await rig.claim_retries()).attempts] == ["pm_newer"]


@pytest.mark.parametrize(
    "outcome",
    [ACTION, DECLINED, STOLEN],
    ids=["requires action", "a decline", "a final decline of the old card"],
)
async def test_a_card_replaced_while_the_first_attempt_is_at_work_is_tried_right_after_it(
    rig: StoreRig, accounts: PostgresAccounts, outcome: DefiniteOutcome
) -> None:
    first = await at_work(rig)
    await replace_card(accounts)
    assert (await rig.claim_retries()).attempts == (), "the first attempt is open"
    assert await rig.owner.fetchval(UNHANDLED) == 0, "what is at work holds up no replacement"
    await rig.settle((first, outcome))
    assert (await rig.subscription(first.subscription_id))["status"] == "past_due"
    [second] = (await rig.claim_retries()).attempts
    assert (second.attempt_no, second.payment_method_id) == (2, "pm_new")
    assert await rig.owner.fetchval(PLANNED) == 1
    await rig.settle((second, DECLINED))
    assert (await rig.claim_retries()).attempts == (), "from here on dunning goes on as usual"
    assert (await rig.invoice(first))["next_attempt_at"] is not None


async def test_an_attempt_at_work_that_pays_or_whose_intent_is_canceled_needs_no_other_card(
    rig: StoreRig, accounts: PostgresAccounts
) -> None:
    pays, canceled = await at_work(rig), await at_work(rig, prefix="t")
    for customer in ("cu_s1", "cu_t1"):
        await replace_card(accounts, customer=customer)
    await rig.settle((pays, paid(pays)), (canceled, Declined.because_canceled()))
    assert (await rig.claim_retries()).attempts == ()
    assert [(await rig.invoice(each))["status"] for each in (pays, canceled)] == ["paid", "uncollectible"]
    assert await rig.owner.fetchval(PLANNED) == 0


async def test_what_ended_before_the_card_was_replaced_stays_ended(
    rig: StoreRig, accounts: PostgresAccounts
) -> None:
    ended = await waiting(rig, STOLEN)
    before = await rig.invoice(ended)
    await replace_card(accounts)
    assert (await rig.claim_retries()).attempts == ()
    assert await rig.invoice(ended) == before
    assert await rig.owner.fetchval(UNHANDLED) == 0


async def test_a_replacement_and_a_settlement_at_the_same_moment_lose_no_retry(
    rig: StoreRig, accounts: PostgresAccounts
) -> None:
    """The settlement holds the invoice when the replacement is carried out: the next round plans the retry."""
    first = await at_work(rig)
    begun, may_commit = asyncio.Event(), asyncio.Event()

    class Stops:
        async def hit(self, name: str) -> None:
            if name == "in_transaction":
                begun.set()
                await may_commit.wait()

    settling = asyncio.create_task(rig.behind(Stops()).settle((first, ACTION)))
    await begun.wait()
    await replace_card(accounts)
    assert (await rig.claim_retries()).attempts == ()
    assert await rig.owner.fetchval(UNHANDLED) == 1, "not handled before the invoice was looked at"
    may_commit.set()
    await settling
    assert [each.attempt_no for each in (await rig.claim_retries()).attempts] == [2]


async def test_a_settlement_that_waited_for_the_leaders_look_sees_the_new_card(
    rig: StoreRig, accounts: PostgresAccounts
) -> None:
    """The other order: the replacement is handled while the attempt is open, and the settlement waits for that."""
    first = await at_work(rig)
    async with rig.store.fenced(rig.term) as looking:
        await replace_card(accounts)
        await looking.claim_retries(10)
        settling = asyncio.create_task(rig.settle((first, ACTION)))
        await rig.until_blocked()
    await settling
    assert [each.attempt_no for each in (await rig.claim_retries()).attempts] == [2]


async def test_attempts_at_work_hold_up_no_other_customers_replacement(
    rig: StoreRig, accounts: PostgresAccounts
) -> None:
    for number in range(5):
        await at_work(rig, prefix=f"p{number}x")
        await replace_card(accounts, customer=f"cu_p{number}x1")
    await waiting(rig, ACTION)
    await replace_card(accounts)
    claimed = [(await rig.claim_retries(limit=2)).attempts for _ in range(3)]
    assert [each.subscription_id for attempts in claimed for each in attempts] == ["sub_s1"]
    assert await rig.owner.fetchval(UNHANDLED) == 0


async def test_a_customer_with_more_invoices_than_one_round_takes_is_done_in_several(
    rig: StoreRig, accounts: PostgresAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("middleman.adapters.postgres.replacements._MOST_INVOICES", 1)
    await waiting(rig, ACTION)
    await add_subscriptions(rig.owner, 1, prefix="t")
    await rig.owner.execute("UPDATE subscriptions SET customer_id = 'cu_s1'")
    [other] = (await rig.claim()).attempts
    await rig.bind(other)
    await rig.settle((other, ACTION))
    await replace_card(accounts)
    rounds = [(await rig.claim_retries()).attempts for _ in range(2)]
    assert [len(each) for each in rounds] == [1, 1]
    assert await rig.owner.fetchval(PLANNED) == 2
    await rig.pay(*rounds[0], *rounds[1])
    await rig.claim_retries()
    assert await rig.owner.fetchval(UNHANDLED) == 0


async def test_a_stale_term_plans_nothing(rig: StoreRig, accounts: PostgresAccounts) -> None:
    first = await waiting(rig, ACTION)
    await replace_card(accounts)
    await rig.superseded()
    with pytest.raises(StaleTerm):
        await rig.claim_retries()
    assert (await rig.invoice(first))["status"] == "requires_action"
    assert await rig.owner.fetchval(UNHANDLED) == 1


async def test_each_role_does_its_part_and_no_more(rig: StoreRig, accounts: PostgresAccounts) -> None:
    await waiting(rig, ACTION)
    await replace_card(accounts)
    forbidden = {
        "middleman_api": (
            PLAN_FOR_REPLACEMENTS.text.replace(":scope", "0::smallint")
            .replace(":term", "1::bigint")
            .replace(":limit", "10")
            .replace(":most_invoices", "10"),
            "DELETE FROM payment_method_replacements",
        ),
        "middleman_replica": (
            "UPDATE payment_method_replacements SET payment_method_id = 'pm_else'",
            "DELETE FROM payment_method_replacements",
        ),
        "middleman_judge": ("DELETE FROM payment_method_replacements",),
    }
    for role, statements in forbidden.items():
        async with rig.database.connect(role) as session:
            assert await session.fetchval("SELECT count(*) FROM payment_method_replacements") == 1
            for statement in statements:
                with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
                    await session.execute(statement)


async def test_the_pipeline_charges_the_new_card_once(works: Works, accounts: PostgresAccounts) -> None:
    await works.subscribe(1)
    works.processor.decline_next(RequiresAction())
    async with works.leading() as leading:
        await works.until("requires_action", 1, leading)
        await replace_card(accounts, "pm_card_mastercard")
        await works.until("paid", 1, leading)
    await works.assert_each_paid_once(1)
    keys = [call.key for call in works.processor.calls if call.operation is Operation.CONFIRM]
    assert len(keys) == len(set(keys)) == 2, "each attempt under its own key"


async def test_the_pipeline_tries_a_card_that_was_replaced_in_flight(
    works: Works, accounts: PostgresAccounts
) -> None:
    await works.subscribe(1)
    works.processor.decline_next(Declined("card_declined", "stolen_card"))

    async def replaced_before_the_answer(operation: Operation, _: object) -> None:
        if operation is Operation.CONFIRM:
            works.processor.before_call = None
            await replace_card(accounts, "pm_card_mastercard")
            async with works.rig.database.connect() as owner, asyncio.timeout(DEADLINE_S):
                while await owner.fetchval(UNHANDLED):  # noqa: ASYNC110  # the database sets no events of ours
                    await asyncio.sleep(0.01)

    works.processor.before_call = replaced_before_the_answer
    async with works.leading() as leading:
        await works.until("paid", 1, leading)
    await works.assert_each_paid_once(1)
    assert (await works.rig.row("SELECT * FROM subscriptions"))["status"] == "active"


async def test_a_retry_that_the_database_refuses_is_put_off_and_the_others_are_paid(
    works: Works, accounts: PostgresAccounts
) -> None:
    await works.subscribe(2)
    await works.rig.owner.execute(
        "ALTER TABLE payment_attempts ADD CONSTRAINT poison CHECK (invoice_id <> 'in_s1_0' OR attempt_no < 2)"
    )
    for _ in range(2):
        works.processor.decline_next(RequiresAction())
    async with works.leading() as leading:
        await works.until("requires_action", 2, leading)
        for number in (1, 2):
            await replace_card(accounts, "pm_card_mastercard", customer=f"cu_s{number}")
        await works.until("paid", 1, leading)
        await works.until_some("SELECT count(*) FROM invoices WHERE set_aside_reason IS NOT NULL")
    refused = await works.rig.row("SELECT * FROM invoices WHERE status <> 'paid'")
    assert (refused["id"], refused["status"]) == ("in_s1_0", "open")
    assert await works.rig.owner.fetchval(UNHANDLED) == 0
