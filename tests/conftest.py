"""Fixtures for the whole suite: real servers, started once per test process."""

from collections.abc import AsyncIterator

import pytest_asyncio

from cluster.postgres import PostgresServer
from tests.support.database import Database, fresh_database, make_template

pytest_plugins = ["tests.support.servers"]


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
