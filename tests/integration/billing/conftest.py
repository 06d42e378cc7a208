"""A leader with its store on a database of its own."""

from collections.abc import AsyncIterator

import pytest_asyncio
from tests.support.database import Database
from tests.support.store_rig import StoreRig, store_rig


@pytest_asyncio.fixture(loop_scope="session")
async def rig(database: Database) -> AsyncIterator[StoreRig]:
    """The leader's first term."""
    async with store_rig(database) as rig:
        yield rig
