"""A pool whose address leads to a standby for a while: it holds no session there, and works when the address moves."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.support.failover import Failover, failover_pair

from cluster.links import Link
from cluster.ports import HOST
from middleman.adapters.postgres.accounts import PostgresAccounts
from middleman.adapters.postgres.office import PostgresOffice
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.records import PostgresRecords
from middleman.domain.ids import PlanId
from middleman.domain.money import Money
from middleman.ports.accounts import AccountsTransaction, NewPlan, Plan
from middleman.ports.errors import OfficeUnavailable
from middleman.ports.store import StoreUnavailable

SESSIONS = 3


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def pair(server_root: Path) -> AsyncIterator[Failover]:
    """Two servers that these tests may break; each test leaves a primary, its standby, and the address at the primary."""
    async with failover_pair(server_root / "failover") as pair:
        yield pair


async def use_all_sessions(pool: AsyncEngine) -> None:
    """Open every session that the pool may hold, and give all of them back."""
    opened = [await pool.connect() for _ in range(SESSIONS)]
    for connection in opened:
        await connection.execute(text("SELECT 1"))
    for connection in opened:
        await connection.close()


async def add_plan(accounts: PostgresAccounts) -> Plan:
    async def work(transaction: AccountsTransaction) -> Plan:
        plan_id = PlanId(f"pl_{uuid4().hex}")
        return await transaction.add_plan(NewPlan(plan_id, "Basic", Money(100, "EUR"), "month", 1, {}))

    return await accounts.transact(work)


async def add_plans(accounts: PostgresAccounts, count: int) -> None:
    for _ in range(count):
        await add_plan(accounts)


async def test_after_a_failover_whose_address_moves_late_office_and_api_work_at_once(pair: Failover) -> None:
    replica, api = pair.pool("middleman_replica", "leader#1"), pair.pool("middleman_api", "middleman-api")
    office = PostgresOffice(replica, uuid4)
    accounts = PostgresAccounts(api)
    records = PostgresRecords(Reader(api.execution_options(isolation_level="AUTOCOMMIT")))
    try:
        for pool in (replica, api):
            await use_all_sessions(pool)
        await office.take_office(0, "leader#1", 1)
        await add_plan(accounts)
        assert await records.ready() is None

        await pair.fail_over()
        for _ in range(SESSIONS + 2):  # the address leads to the old primary, now a standby
            with pytest.raises(OfficeUnavailable):
                await office.take_office(0, "leader#1", 2)
            with pytest.raises(StoreUnavailable):
                await add_plan(accounts)
        trouble = await records.ready()
        assert trouble is not None
        assert "takes no writes" in trouble

        pair.move_address()
        term = await office.take_office(0, "leader#1", 3)
        assert term.number == 2
        for _ in range(SESSIONS + 2):
            await add_plan(accounts)
        assert await records.ready() is None
    finally:
        await replica.dispose()
        await api.dispose()


async def test_a_session_that_turned_read_only_is_dropped_with_its_siblings(pair: Failover) -> None:
    api = pair.pool("middleman_api", "middleman-api", SESSIONS)
    accounts = PostgresAccounts(api)
    owner = await pair.owner()
    sessions = (
        "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'middleman-api'"
    )
    try:
        await use_all_sessions(api)
        before = await owner.fetchval(sessions)
        # As some managed databases do before a switch, and on a full disk: no restart, and every session stays.
        await owner.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        await owner.execute("SELECT pg_reload_conf()")
        with pytest.raises(StoreUnavailable):
            await add_plans(accounts, 10_000)  # until the signal has reached the session
        await owner.execute("SET default_transaction_read_only = off")
        await owner.execute("ALTER SYSTEM RESET default_transaction_read_only")
        await owner.execute("SELECT pg_reload_conf()")
        await use_all_sessions(api)
        after = await owner.fetchval(sessions)
        assert set(before).isdisjoint(after)
    finally:
        await owner.close()
        await api.dispose()


@pytest.mark.parametrize("code", ["25006", "57P01", "57P02", "57P03"])
async def test_a_session_that_says_its_server_is_gone_is_dropped_with_its_siblings(
    pair: Failover, code: str
) -> None:
    api = pair.pool("middleman_api", "middleman-api", SESSIONS)
    owner = await pair.owner()
    sessions = (
        "SELECT array_agg(pid ORDER BY pid) FROM pg_stat_activity WHERE application_name = 'middleman-api'"
    )
    try:
        await use_all_sessions(api)
        before = await owner.fetchval(sessions)
        with pytest.raises(Exception, match="said by the test"):
            async with api.connect() as connection:
                await connection.execute(
                    text(f"DO $$ BEGIN RAISE EXCEPTION 'said by the test' USING ERRCODE = '{code}'; END $$")
                )
        await use_all_sessions(api)
        assert set(before).isdisjoint(await owner.fetchval(sessions))
    finally:
        await owner.close()
        await api.dispose()


async def test_a_transaction_that_got_no_answer_takes_its_siblings_along(pair: Failover) -> None:
    """The old primary's machine is gone without a word, and the address has moved: each session would wait by itself."""
    machine = Link("the machine of the old primary", f"{HOST}:{pair.primary.port}")
    machine.start()
    pair.address.lead_to(machine.endpoint)
    api = pair.pool("middleman_api", "middleman-api", SESSIONS)
    accounts = PostgresAccounts(api, timeout_s=1.0)
    try:
        await use_all_sessions(api)
        machine.cut()
        pair.move_address()
        with pytest.raises(StoreUnavailable):
            await add_plan(accounts)
        await add_plan(accounts)
    finally:
        await api.dispose()
        await machine.close()
