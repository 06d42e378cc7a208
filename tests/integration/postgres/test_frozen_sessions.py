"""A process that freezes inside a transaction holds its locks only for a bounded time, wherever it sleeps."""

import asyncio

import pytest
from tests.support.database import Database

LOCK = "SELECT pg_advisory_xact_lock(7)"
_WAIT_S = 10.0


@pytest.mark.parametrize("role", ["middleman_api", "middleman_replica"])
async def test_every_role_that_writes_bounds_its_transactions(database: Database, role: str) -> None:
    async with database.connect(role) as session:
        names = (
            "transaction_timeout",
            "idle_in_transaction_session_timeout",
            "lock_timeout",
            "statement_timeout",
        )
        bounds = {name: await session.fetchval(f"SHOW {name}") for name in names}
    assert "0" not in bounds.values(), bounds


@pytest.mark.parametrize("role", ["middleman_api", "middleman_replica"])
async def test_locks_do_not_outlast_the_bound_of_a_session_that_sleeps_between_prepare_and_execute(
    database: Database, role: str
) -> None:
    async with database.connect(role) as frozen, database.connect() as other:
        # The other bounds are set far below this one, to show that none of them ends such a session.
        await frozen.execute(
            "SET statement_timeout = '50ms'; SET idle_in_transaction_session_timeout = '50ms';"
            " SET transaction_timeout = '500ms'"
        )
        await frozen.execute("BEGIN")
        await frozen.execute(LOCK)
        await frozen.prepare("SELECT 1 + $1::integer")  # the client sleeps here: it never executes
        state = await other.fetchval(
            "SELECT state FROM pg_stat_activity WHERE pid = $1", frozen.get_server_pid()
        )
        assert state == "active"
        async with asyncio.timeout(_WAIT_S):
            await other.execute(LOCK)
        frozen.terminate()
