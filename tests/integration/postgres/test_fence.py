"""The database itself refuses a stale term, whoever types the SQL (DESIGN §2.3)."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest
from tests.support.database import Database, add_subscriptions

from middleman.adapters.postgres.office import PostgresOffice
from middleman.adapters.postgres.store import PostgresStore
from middleman.ports.errors import StaleTerm
from middleman.ports.failpoints import NO_FAILPOINTS
from middleman.ports.store import StoreUnavailable

ENTER = "SELECT enter_term(0::smallint, $1::bigint, $2::uuid)"
CLAIM_BY_HAND = (
    "INSERT INTO invoices (id, subscription_id, customer_id, scope, period_no, period_start, period_end,"
    " amount_minor, currency, processor_customer_id, created_term)"
    " SELECT 'in_' || substr(id, 5) || '_0', id, customer_id, 0, 0, next_due_at, next_due_at + interval '1 month',"
    " 999, 'EUR', 'cus_x', $1 FROM subscriptions LIMIT 1"
)


async def take_office(database: Database, holder: str) -> tuple[int, UUID]:
    """Raise the fence as `holder` would, from a bare session."""
    uid = uuid4()
    async with database.connect("middleman_replica") as connection:
        number = await connection.fetchval(
            "SELECT number FROM take_office(0::smallint, $1, 7::bigint, $2::uuid)", holder, uid
        )
    return number, uid


async def test_terms_strictly_grow_and_the_fence_is_the_newest(database: Database) -> None:
    numbers = [(await take_office(database, f"r{n}"))[0] for n in range(5)]
    assert numbers == [1, 2, 3, 4, 5]
    async with database.connect() as owner:
        assert await owner.fetchval("SELECT term FROM fence") == 5
        assert await owner.fetchval("SELECT count(*) FROM terms WHERE ended_at IS NULL") == 1


async def test_raw_sql_with_a_stale_term_is_refused_and_with_the_current_one_accepted(
    database: Database,
) -> None:
    async with database.connect() as owner:
        await add_subscriptions(owner, 1)
    stale = await take_office(database, "old")
    current = await take_office(database, "new")
    async with database.connect("middleman_replica") as replica:
        with pytest.raises(asyncpg.PostgresError, match="stale term") as refused:
            async with replica.transaction():
                await replica.execute(ENTER, *stale)
        assert refused.value.sqlstate == "MM001"
        async with replica.transaction():
            await replica.execute(ENTER, *current)
            await replica.execute(CLAIM_BY_HAND, current[0])
    async with database.connect() as owner:
        assert await owner.fetchval("SELECT count(*) FROM invoices") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET status = 'uncollectible', settled_at = now()",
        "UPDATE payment_attempts SET status = 'declined'",
        CLAIM_BY_HAND.replace("$1", "1"),
        "INSERT INTO ledger_entries (attempt_id, account, invoice_id, amount_minor, currency, term)"
        " SELECT id, 'revenue', invoice_id, -999, 'EUR', 1 FROM payment_attempts",
    ],
)
async def test_money_cannot_be_written_without_entering_a_term(database: Database, statement: str) -> None:
    """Even statements that touch no row are refused: forgetting the fence is an error, always."""
    await take_office(database, "leader")
    async with database.connect("middleman_replica") as replica:
        with pytest.raises(asyncpg.PostgresError, match="stale term"):
            await replica.execute(statement)


async def test_naming_the_stale_term_by_hand_does_not_help(database: Database) -> None:
    stale = await take_office(database, "old")
    await take_office(database, "new")
    async with database.connect("middleman_replica") as replica:
        for name, value in (("scope", "0"), ("term", str(stale[0])), ("term_uid", str(stale[1]))):
            await replica.execute("SELECT set_config($1, $2, false)", f"middleman.{name}", value)
        with pytest.raises(asyncpg.PostgresError, match="stale term"):
            await replica.execute("UPDATE invoices SET next_attempt_at = now()")


async def test_the_right_number_with_the_wrong_uid_is_stale(database: Database) -> None:
    """A database that lost its last commits may give a number out twice (DESIGN §2.9)."""
    number, _ = await take_office(database, "leader")
    async with database.connect("middleman_replica") as replica:
        with pytest.raises(asyncpg.PostgresError, match="stale term"):
            await replica.execute(ENTER, number, uuid4())


async def test_the_owner_is_fenced_too(database: Database) -> None:
    async with database.connect() as owner:
        with pytest.raises(asyncpg.PostgresError, match="stale term"):
            await owner.execute("TRUNCATE invoices CASCADE")


@pytest.mark.parametrize("table", ["invoices", "payment_attempts", "ledger_entries", "fence", "terms"])
@pytest.mark.parametrize("verb", ["INSERT INTO {} DEFAULT VALUES", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_api_role_has_no_right_to_write_money(database: Database, table: str, verb: str) -> None:
    async with database.connect("middleman_api") as api:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await api.execute(verb.format(table))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE invoices SET status = 'paid'",
        "UPDATE payment_attempts SET status = 'succeeded'",
        "SELECT take_office(0::smallint, 'api', 1::bigint, gen_random_uuid())",
        "UPDATE subscriptions SET next_period_no = next_period_no + 1",
    ],
)
async def test_the_api_role_cannot_update_money_nor_lead(database: Database, statement: str) -> None:
    async with database.connect("middleman_api") as api:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await api.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE fence SET term = term + 100",
        "UPDATE invoices SET amount_minor = 1",
        "UPDATE payment_attempts SET payment_method_id = 'pm_other'",
        "DELETE FROM invoices",
        "ALTER TABLE invoices DISABLE TRIGGER ALL",
        "UPDATE ledger_entries SET amount_minor = 1",
        "DELETE FROM ledger_entries",
    ],
)
async def test_the_replica_role_can_neither_lift_the_fence_nor_change_a_frozen_request(
    database: Database, statement: str
) -> None:
    await take_office(database, "leader")
    async with database.connect("middleman_replica") as replica:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await replica.execute(statement)


async def test_the_judge_role_writes_nothing(database: Database) -> None:
    async with database.connect("middleman_judge") as judge:
        await judge.execute("SET default_transaction_read_only = off")
        for table in ("invoices", "ledger_entries", "events", "customers", "subscriptions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await judge.execute(f"DELETE FROM {table}")


async def test_taking_office_waits_for_the_last_write_of_the_term_before(database: Database) -> None:
    """The transaction that holds the fence commits before the next term exists, so terms never overlap."""
    async with database.connect() as owner:
        await add_subscriptions(owner, 1)
    old = await take_office(database, "old")
    async with database.connect("middleman_replica") as replica, database.connect() as owner:
        transaction = replica.transaction()
        await transaction.start()
        await replica.execute(ENTER, *old)
        await replica.execute(CLAIM_BY_HAND, old[0])
        successor = asyncio.create_task(take_office(database, "new"))
        await _until_blocked(owner)
        assert not successor.done()
        await transaction.commit()
        assert (await successor)[0] == old[0] + 1


async def _until_blocked(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with asyncio.timeout(5):
        while not await owner.fetchval(waiting):  # noqa: ASYNC110 -- the server sets no events of ours
            await asyncio.sleep(0.01)


async def test_a_new_leader_ends_the_sessions_of_a_frozen_one_that_sleeps_in_a_transaction(
    database: Database,
) -> None:
    async with database.connect() as owner:
        await add_subscriptions(owner, 1)
    old_pool, new_pool = database.replica_engine("old#1"), database.replica_engine("new#2")
    try:
        old_term = await PostgresOffice(old_pool, uuid4).take_office(0, "old#1", 1)
        old_store = PostgresStore(old_pool, NO_FAILPOINTS)
        with pytest.raises(StoreUnavailable):  # noqa: PT012 -- the successor comes in the middle of it
            async with old_store.fenced(old_term) as transaction:
                assert len((await transaction.claim_due(10, 1000)).attempts) == 1
                # The old leader "freezes" here, inside its transaction; the successor does not wait for it.
                async with asyncio.timeout(1):
                    new_term = await PostgresOffice(new_pool, uuid4).take_office(0, "new#2", 2)
        with pytest.raises(StaleTerm):
            async with old_store.fenced(old_term) as transaction:
                await transaction.claim_due(10, 1000)
        async with PostgresStore(new_pool, NO_FAILPOINTS).fenced(new_term) as transaction:
            assert len((await transaction.claim_due(10, 1000)).attempts) == 1
    finally:
        await old_pool.dispose()
        await new_pool.dispose()


async def test_an_idle_transaction_of_a_replica_is_ended_by_the_server(database: Database) -> None:
    async with database.connect("middleman_replica") as replica:
        for setting, value in (
            ("idle_in_transaction_session_timeout", "2s"),
            ("lock_timeout", "2s"),
            ("statement_timeout", "10s"),
            ("synchronous_commit", "on"),
        ):
            assert await replica.fetchval(f"SHOW {setting}") == value
