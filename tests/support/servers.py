"""Real servers for the whole suite, each started once per test process, with data in a short path.

A test that kills or freezes a member of a shared server leaves it healthy (`etcd_cluster.heal()`,
`postgres_server.restart()`); a test that needs a broken server for long starts one of its own.
"""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from cluster.etcd import EtcdCluster
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
async def etcd_cluster(server_root: Path) -> AsyncIterator[EtcdCluster]:
    """Three members with a raft leader."""
    # Off the loop: the first use may ask an etcd on PATH for its version.
    cluster = await asyncio.to_thread(EtcdCluster, server_root / "etcd")
    async with cluster:
        yield cluster


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox_server(server_root: Path) -> AsyncIterator[SandboxServer]:
    """The sandbox with an empty ledger; `api_key` and `admin_key` are on the object."""
    async with SandboxServer(server_root / "sandbox") as server:
        yield server
