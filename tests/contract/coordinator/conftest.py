"""Fixtures for the contract of `Coordinator`."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.coordinator_rigs import BRISK, EtcdRig, FakeRig, Rig

from cluster.etcd import EtcdCluster
from middleman.leadership.timing import LeaseTiming

_prefixes = itertools.count(1)


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def etcd_cluster(server_root: Path) -> AsyncIterator[EtcdCluster]:
    """Three members with a raft leader, for the tests of this folder."""
    # Off the loop: the first use may ask an etcd on PATH for its version.
    cluster = await asyncio.to_thread(EtcdCluster, server_root / "etcd")
    async with cluster:
        yield cluster


@pytest.fixture(params=["fake", "etcd"])
def service(request: pytest.FixtureRequest) -> EtcdCluster | None:
    """What stands behind the rig; ``None`` for the fake, so that it alone starts no server."""
    # Synchronous: pytest-asyncio cannot set up one asynchronous fixture from within another.
    return request.getfixturevalue("etcd_cluster") if request.param == "etcd" else None


@pytest_asyncio.fixture
async def rig(service: EtcdCluster | None) -> AsyncIterator[Rig]:
    """A service with nobody elected."""
    made: Rig
    made = FakeRig() if service is None else EtcdRig(service, f"/contract-{next(_prefixes)}", BRISK)
    yield made
    await made.close()


@pytest_asyncio.fixture
async def etcd_rig(etcd_cluster: EtcdCluster) -> AsyncIterator[EtcdRig]:
    """Real etcd whose members the test may kill and freeze; it is healed afterwards."""
    made = EtcdRig(etcd_cluster, f"/faults-{next(_prefixes)}", LeaseTiming())
    yield made
    await made.close()
    await etcd_cluster.heal()


@pytest_asyncio.fixture
async def brisk_etcd_rig(etcd_cluster: EtcdCluster) -> AsyncIterator[EtcdRig]:
    """The same with the shorter lease, for faults that must not cost a single renewal."""
    made = EtcdRig(etcd_cluster, f"/faults-{next(_prefixes)}", BRISK)
    yield made
    await made.close()
    await etcd_cluster.heal()
