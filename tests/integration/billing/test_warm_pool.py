"""Opening a replica's sessions takes as long as it takes: none of them may be lost to that meanwhile."""

import asyncio

import pytest
from tests.support.database import Database

from middleman.adapters.postgres.heartbeat import warm_pool
from middleman.ports.store import StoreUnavailable

# The database ends a session that has been idle in a transaction for two seconds.
_IDLE_IN_TRANSACTION_S = """
    SELECT coalesce(max(extract(epoch FROM clock_timestamp() - state_change)), 0)::float8 FROM pg_stat_activity
    WHERE application_name = $1 AND state = 'idle in transaction'
"""


async def test_a_session_that_waits_for_the_others_to_open_is_in_no_transaction(database: Database) -> None:
    sessions = database.replica_engine("replica-1", pool_size=1)
    longest_s = 0.0
    async with database.connect() as connection:
        # There is no second session to be had, so that the first one waits for three seconds.
        warming = asyncio.create_task(warm_pool(sessions, 2))
        while not warming.done():
            longest_s = max(longest_s, await connection.fetchval(_IDLE_IN_TRANSACTION_S, "replica-1"))
            await asyncio.sleep(0.02)
    with pytest.raises(StoreUnavailable):
        await warming
    await sessions.dispose()
    assert longest_s < 1.0
