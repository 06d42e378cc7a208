"""One cluster for all faults of this folder; each test finds it healthy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from tests.support.fault_world import FaultWorld, fault_world


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def shared_world(server_root: Path) -> AsyncIterator[FaultWorld]:
    """The cluster, started when the first test needs it."""
    async with fault_world(server_root) as world:
        yield world


@pytest_asyncio.fixture(loop_scope="session")
async def world(shared_world: FaultWorld) -> AsyncIterator[FaultWorld]:
    """The cluster without faults."""
    await shared_world.calm()
    yield shared_world
    await shared_world.calm()
