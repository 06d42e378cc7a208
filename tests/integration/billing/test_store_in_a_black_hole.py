"""A session whose server has vanished without a word: who waits in it can be cancelled, and is free at once."""

import asyncio
import time
from urllib.parse import urlsplit

import pytest
from sqlalchemy import text
from tests.support.database import Database
from tests.support.fake_coordinator import LinkMode
from tests.support.links import Relay

from middleman.adapters.postgres.engine import engine
from middleman.leadership.timing import LifeTiming

MARGIN_S = 1.0
"""What is left of the time that a cancelled pipeline gets, for everything else that it has to unwind."""


async def test_a_transaction_in_a_black_hole_ends_at_once_when_it_is_cancelled(database: Database) -> None:
    dsn = database.dsn("middleman_replica")
    relay = Relay(f"{urlsplit(dsn).hostname}:{urlsplit(dsn).port}")
    endpoint = await relay.start()
    sessions = engine(
        dsn.replace(f"{urlsplit(dsn).hostname}:{urlsplit(dsn).port}", endpoint),
        application_name="replica-1",
        pool_size=1,
    )
    began = asyncio.Event()

    async def transaction() -> None:
        async with sessions.begin() as connection:
            await connection.execute(text("SELECT 1"))
            relay.set_mode(LinkMode.BLOCKED)
            began.set()
            await connection.execute(text("SELECT 2"))

    try:
        waiting = asyncio.create_task(transaction())
        await began.wait()
        # Let it send the statement, which is then on its way for good.
        await asyncio.wait({waiting}, timeout=0.2)
        cancelled_s = time.monotonic()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert time.monotonic() - cancelled_s < LifeTiming().hard_stop_s - MARGIN_S
    finally:
        await relay.close()
        await sessions.dispose()
