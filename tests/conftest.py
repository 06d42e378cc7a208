"""Fixtures for the whole suite: real servers, started once per test process."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from xdist.scheduler import LoadFileScheduling

from cluster.postgres import PostgresServer
from tests.support.database import Database, fresh_database, make_template

pytest_plugins = ["tests.support.servers"]

TOGETHER = ("tests/contract/coordinator/", "tests/integration/faults/")
"""Folders whose tests share a cluster: one worker runs them all, so that there is one and it ends with them."""

LONG = ("tests/integration/faults/", "tests/integration/chaos/")


class FolderScheduling(LoadFileScheduling):  # type: ignore[misc]  # xdist comes without types
    """What a worker gets at once: such a folder, or else a file, whose tests may share servers too."""

    def _split_scope(self, nodeid: str) -> str:
        folders = [folder for folder in TOGETHER if nodeid.startswith(folder)]
        return folders[0] if folders else super()._split_scope(nodeid)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first, so that all workers end at about the same time."""
    rank = {folder: number for number, folder in enumerate(LONG)}
    items.sort(
        key=lambda item: min((rank[each] for each in LONG if item.nodeid.startswith(each)), default=len(LONG))
    )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FolderScheduling:
    """With more than one worker (`-n`)."""
    return FolderScheduling(config, log)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def migrated_server(postgres_server: PostgresServer) -> PostgresServer:
    """The PostgreSQL server with a migrated template database."""
    await make_template(postgres_server)
    return postgres_server


@pytest_asyncio.fixture(loop_scope="session")
async def database(migrated_server: PostgresServer) -> AsyncIterator[Database]:
    """A migrated database of the test's own."""
    async with fresh_database(migrated_server) as database:
        yield database
