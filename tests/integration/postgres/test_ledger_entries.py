"""Every success is booked twice, in the transaction that settles it, and nothing else can be booked."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
import pytest_asyncio
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from tests.support.database import Database, add_subscriptions
from tests.support.store_rig import DECLINED, StoreRig, paid, store_rig

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.migrate import MIGRATIONS, upgrade_to_head
from middleman.domain.attempts import RequiresAction
from middleman.ports.store import OpenAttempt

ENTRIES = """
    SELECT attempt_id, account, invoice_id, amount_minor, currency, term FROM ledger_entries
    ORDER BY attempt_id, account
"""
BOOK = """
    INSERT INTO ledger_entries (attempt_id, account, invoice_id, amount_minor, currency, term)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[])
"""
ENTER = "SELECT enter_term(0::smallint, $1::bigint, $2::uuid)"
Row = tuple[str, str, str, int, str, int]


@pytest_asyncio.fixture(loop_scope="session")
async def rig(database: Database) -> AsyncIterator[StoreRig]:
    async with store_rig(database) as rig:
        yield rig


async def claimed(rig: StoreRig, count: int) -> list[OpenAttempt]:
    await add_subscriptions(rig.owner, count)
    attempts = list((await rig.claim()).attempts)
    await rig.bind(*attempts)
    return attempts


async def entries(owner: "asyncpg.Connection[asyncpg.Record]") -> list[Row]:
    return [(*row,) for row in await owner.fetch(ENTRIES)]


def pair(attempt: OpenAttempt, term: int, *, debit: int = 999, credit: int = -999) -> list[Row]:
    """Both sides of a success of 9.99 EUR."""
    attempt_id, invoice_id = str(attempt.attempt_id), str(attempt.invoice_id)
    return [
        (attempt_id, "processor_balance", invoice_id, debit, "EUR", term),
        (attempt_id, "revenue", invoice_id, credit, "EUR", term),
    ]


async def book_by_hand(rig: StoreRig, rows: list[Row], *, term: int | None = None) -> None:
    """What somebody at a prompt could try with the replica's rights."""
    async with rig.database.connect("middleman_replica") as replica, replica.transaction():
        await replica.execute(ENTER, term or rig.term.number, rig.term.uid)
        await replica.execute(BOOK, *map(list, zip(*rows, strict=True)))


async def settle_by_hand(rig: StoreRig, attempt: OpenAttempt, status: str) -> None:
    """Settle and book nothing."""
    async with rig.database.connect("middleman_replica") as replica, replica.transaction():
        await replica.execute(ENTER, rig.term.number, rig.term.uid)
        await replica.execute(
            "UPDATE payment_attempts SET status = $2, settled_at = now(), settled_term = 1 WHERE id = $1",
            attempt.attempt_id,
            status,
        )


async def test_a_success_is_booked_on_both_sides_in_the_term_that_settled_it(rig: StoreRig) -> None:
    first, second = await claimed(rig, 2)
    await rig.settle((first, paid(first)), (second, paid(second)))
    assert await entries(rig.owner) == pair(first, rig.term.number) + pair(second, rig.term.number)


async def test_what_took_no_money_is_not_booked(rig: StoreRig) -> None:
    declined, waiting, open_one = await claimed(rig, 3)
    await rig.settle((declined, DECLINED), (waiting, RequiresAction(code="authentication_required")))
    await rig.mark_unknown(open_one, "timeout")
    assert await entries(rig.owner) == []


async def test_a_success_that_is_settled_again_is_not_booked_again(rig: StoreRig) -> None:
    [attempt] = await claimed(rig, 1)
    assert await rig.settle((attempt, paid(attempt))) == 1
    assert await rig.settle((attempt, paid(attempt))) == 0
    assert len(await entries(rig.owner)) == 2


async def test_entries_are_refused_to_a_stale_term(rig: StoreRig) -> None:
    [attempt] = await claimed(rig, 1)
    await rig.settle((attempt, paid(attempt)))
    stale = rig.term.number
    await rig.superseded()
    with pytest.raises(asyncpg.PostgresError, match="stale term"):
        await book_by_hand(rig, pair(attempt, stale), term=stale)


@pytest.mark.parametrize("change", ["UPDATE ledger_entries SET term = 7", "DELETE FROM ledger_entries"])
async def test_entries_are_append_only_even_for_their_owner(rig: StoreRig, change: str) -> None:
    [attempt] = await claimed(rig, 1)
    await rig.settle((attempt, paid(attempt)))
    for statement in (change, "TRUNCATE ledger_entries"):
        with pytest.raises(asyncpg.PostgresError, match="append-only") as refused:
            await rig.owner.execute(statement)
        assert refused.value.sqlstate == "MM002"
    assert len(await entries(rig.owner)) == 2


async def test_one_side_alone_is_refused(rig: StoreRig) -> None:
    [attempt] = await claimed(rig, 1)
    for rows in (
        pair(attempt, rig.term.number)[:1],
        pair(attempt, rig.term.number, credit=-998),
        pair(attempt, rig.term.number)[1:],
    ):
        with pytest.raises(
            asyncpg.PostgresError, match=f"entries of {attempt.attempt_id} do not sum to zero"
        ) as no:
            await book_by_hand(rig, rows)
        assert no.value.sqlstate == "MM004"


@pytest.mark.parametrize(
    ("debit", "credit", "constraint"),
    [(-999, 999, "ledger_entries_account_and_side"), (0, 0, "ledger_entries_account_and_side")],
)
async def test_an_account_grows_on_its_own_side_only(
    rig: StoreRig, debit: int, credit: int, constraint: str
) -> None:
    [attempt] = await claimed(rig, 1)
    with pytest.raises(asyncpg.CheckViolationError, match=constraint):
        await book_by_hand(rig, pair(attempt, rig.term.number, debit=debit, credit=credit))


async def test_only_what_an_attempt_took_can_be_booked_for_it(rig: StoreRig) -> None:
    """With the check the other way round (no success without entries) off, so that there is something to book."""
    await rig.owner.execute("ALTER TABLE payment_attempts DISABLE TRIGGER payment_attempts_successes_booked")
    attempt, other, open_one = await claimed(rig, 3)
    succeed = (
        "UPDATE payment_attempts SET status = 'succeeded', settled_at = now(), settled_term = 1 WHERE id = $1"
    )
    async with rig.database.connect("middleman_replica") as replica, replica.transaction():
        await replica.execute(ENTER, rig.term.number, rig.term.uid)
        await replica.execute(succeed, attempt.attempt_id)
    right = pair(attempt, rig.term.number)
    wrong_bookings: tuple[list[Row], ...] = (
        pair(attempt, rig.term.number, debit=998, credit=-998),
        [(a, account, i, amount, "USD", term) for a, account, i, amount, _, term in right],
        [(a, account, other.invoice_id, amount, c, term) for a, account, _, amount, c, term in right],
        [right[0], (*right[1][:2], other.invoice_id, *right[1][3:])],
        [("at_of_nobody", account, i, amount, c, term) for _, account, i, amount, c, term in right],
        pair(open_one, rig.term.number),
    )
    for wrong in wrong_bookings:
        with pytest.raises(asyncpg.PostgresError, match="are not its success"):
            await book_by_hand(rig, wrong)
    await book_by_hand(rig, right)
    with pytest.raises(asyncpg.UniqueViolationError, match="ledger_entries_pkey"):
        await book_by_hand(rig, right)


async def test_a_success_without_its_entries_cannot_be_settled(rig: StoreRig) -> None:
    """As a release from before the ledger would, after the migration."""
    [attempt] = await claimed(rig, 1)
    with pytest.raises(
        asyncpg.PostgresError, match=f"success of {attempt.attempt_id} is not booked"
    ) as refused:
        await settle_by_hand(rig, attempt, "succeeded")
    assert refused.value.sqlstate == "MM004"
    await settle_by_hand(rig, attempt, "declined")
    assert (await rig.attempt(attempt))["status"] == "declined"


async def test_five_hundred_successes_in_one_batch_balance(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 500)
    attempts = (await rig.claim(500)).attempts
    await rig.bind(*attempts)
    assert await rig.settle(*((each, paid(each)) for each in attempts)) == 500
    totals = await rig.owner.fetch(
        "SELECT account, sum(amount_minor) FROM ledger_entries GROUP BY 1 ORDER BY 1"
    )
    assert [(*row,) for row in totals] == [("processor_balance", 500 * 999), ("revenue", -500 * 999)]


async def test_api_and_judge_read_the_entries(rig: StoreRig) -> None:
    [attempt] = await claimed(rig, 1)
    await rig.settle((attempt, paid(attempt)))
    for role in ("middleman_api", "middleman_judge"):
        async with rig.database.connect(role) as reader:
            assert await entries(reader) == pair(attempt, rig.term.number)


async def test_what_was_paid_before_there_was_a_ledger_is_booked_by_the_migration(
    migrated_server: PostgresServer,
) -> None:
    name = "before_the_ledger"
    await migrated_server.create_database(name)
    owner = owner_engine(migrated_server.dsn(database=name))
    try:
        async with owner.begin() as connection:
            await connection.run_sync(_upgrade_to, "0001")
            for statement in _PAID_LONG_AGO:
                await connection.execute(text(statement))
        async with owner.begin() as connection:
            await upgrade_to_head(connection)
        session = await asyncpg.connect(migrated_server.dsn(database=name))
        try:
            assert await entries(session) == [
                ("at_a_0_1", "processor_balance", "in_a_0", 1299, "JPY", 3),
                ("at_a_0_1", "revenue", "in_a_0", -1299, "JPY", 3),
            ]
            assert await session.fetchval(
                "SELECT bool_and(e.recorded_at = t.settled_at)"
                " FROM ledger_entries e JOIN payment_attempts t ON t.id = e.attempt_id"
            )
        finally:
            await session.close()
    finally:
        await owner.dispose()
        await migrated_server.drop_database(name)


def _upgrade_to(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


_ATTEMPT = (
    "INSERT INTO payment_attempts (id, invoice_id, scope, attempt_no, status, amount_minor, currency,"
    " processor_customer_id, payment_method_id, created_term, settled_term, settled_at) VALUES"
    " ('at_{0}_0_1', 'in_{0}_0', 0, 1, '{1}', 1299, 'JPY', 'cus_1', 'pm_1', 2, 3, now() - interval '1 day')"
)
_INVOICE = (
    "INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end,"
    " amount_minor, currency, processor_customer_id, status, payment_intent_id, created_term, bound_term, settled_at)"
    " VALUES ('in_{0}_0', 'sub_{0}', 'cu_1', 0, 0, now(), now() + interval '1 day', 1299, 'JPY', 'cus_1', '{1}',"
    " 'pi_{0}', 2, 2, now())"
)
_PAID_LONG_AGO = (
    "SET LOCAL session_replication_role = replica",  # no term is in office here
    _INVOICE.format("a", "paid"),
    _ATTEMPT.format("a", "succeeded"),
    _INVOICE.format("b", "uncollectible"),
    _ATTEMPT.format("b", "declined"),
)
