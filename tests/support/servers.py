"""Real servers for the whole suite, each started once per test process, with data in a short path.

A test that breaks a shared server leaves it healthy (`postgres_server.restart()`); a test that needs a broken
server for long starts one of its own. A cluster is never idle, so those live no longer than the folder whose
tests share them: three etcd members at heartbeats of 50 ms take a tenth of a core while nobody asks them anything.
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cluster.postgres import PostgresServer
from cluster.sandbox import SandboxServer


@pytest.fixture(scope="session")
def server_root() -> Iterator[Path]:
    """A directory that PostgreSQL's user can traverse; pytest's own is closed to others when we are root."""
    root = Path(tempfile.mkdtemp(prefix="mm-"))
    root.chmod(0o711)
    yield root
    shutil.rmtree(root, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres_server(server_root: Path) -> AsyncIterator[PostgresServer]:
    """PostgreSQL with an empty database `middleman`; use `create_database` for one of your own."""
    async with PostgresServer(server_root / "postgres") as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox_server(server_root: Path) -> AsyncIterator[SandboxServer]:
    """The sandbox with an empty ledger; `api_key` and `admin_key` are on the object."""
    async with SandboxServer(server_root / "sandbox") as server:
        yield server
