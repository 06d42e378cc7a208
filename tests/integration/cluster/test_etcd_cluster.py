"""The embedded etcd: three members, each of which may fail."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from cluster.errors import ClusterError
from cluster.etcd import EtcdCluster, EtcdMember, EtcdTiming
from cluster.health import http_client
from cluster.ports import ReservedPort, reserve_port


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_etcd(server_root: Path) -> AsyncIterator[EtcdCluster]:
    """One for all tests of this module."""
    # Off the loop: the first use may ask an etcd on PATH for its version.
    cluster = await asyncio.to_thread(EtcdCluster, server_root / "etcd-itself")
    async with cluster:
        yield cluster


@pytest_asyncio.fixture
async def etcd(shared_etcd: EtcdCluster) -> AsyncIterator[EtcdCluster]:
    """The shared cluster, healthy again after the test."""
    yield shared_etcd
    await shared_etcd.heal()


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def put(member: EtcdMember, key: str, value: str) -> None:
    async with http_client(5.0) as client:
        reply = await client.post(
            f"{member.url}/v3/kv/put", json={"key": _encoded(key), "value": _encoded(value)}
        )
        reply.raise_for_status()


async def get(member: EtcdMember, key: str) -> str | None:
    async with http_client(5.0) as client:
        reply = await client.post(f"{member.url}/v3/kv/range", json={"key": _encoded(key)})
        reply.raise_for_status()
    found = reply.json().get("kvs", [])
    return base64.b64decode(found[0]["value"]).decode() if found else None


async def test_three_members_agree_on_one_raft_leader(etcd: EtcdCluster) -> None:
    assert len(etcd.members) == len(set(etcd.endpoints)) == 3
    leader = await etcd.raft_leader()
    assert leader in etcd.members


async def test_another_member_leads_after_the_raft_leader_was_killed(etcd: EtcdCluster) -> None:
    first = await etcd.raft_leader()
    await first.kill()
    second = await etcd.raft_leader()
    assert second is not first
    await put(second, "after", "kill")
    await etcd.heal()
    assert first.is_running
    assert await get(first, "after") == "kill"


async def test_another_member_leads_while_the_raft_leader_is_frozen(etcd: EtcdCluster) -> None:
    first = await etcd.raft_leader()
    first.pause()
    second = await etcd.raft_leader()
    assert second is not first
    first.resume()
    await first.wait_ready()


async def test_without_a_majority_nobody_leads(etcd: EtcdCluster) -> None:
    leader = await etcd.raft_leader()
    for member in etcd.members:
        if member is not leader:
            member.pause()
    with pytest.raises(ClusterError, match=r"no etcd member led raft for 0\.5 s"):
        await etcd.raft_leader(timeout_s=0.5)


async def test_data_ports_and_names_survive_a_restart_of_the_whole_cluster(short_dir: Path) -> None:
    async with EtcdCluster(short_dir / "etcd") as first:
        await put(first.members[0], "lasting", "yes")
        endpoints = first.endpoints
    async with EtcdCluster(short_dir / "etcd") as second:
        assert second.endpoints == endpoints
        assert await get(second.members[2], "lasting") == "yes"


async def test_it_starts_empty_when_a_stranger_has_taken_a_peer_port(short_dir: Path) -> None:
    """A member's peer address is part of its data; the election that is lost with it holds no money."""
    timing = EtcdTiming(unsafe_no_fsync=True)
    async with EtcdCluster(short_dir / "etcd", members=1, timing=timing) as first:
        await put(first.members[0], "lasting", "no")
        taken = first.members[0].peer_port
    stranger: ReservedPort = reserve_port(taken)
    assert stranger.number == taken
    try:
        async with EtcdCluster(short_dir / "etcd", members=1, timing=timing) as second:
            assert second.members[0].peer_port != taken
            assert await get(second.members[0], "lasting") is None
    finally:
        stranger.release()


def test_a_cluster_without_members_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="members=0: an etcd cluster has at least one member"):
        EtcdCluster(tmp_path, members=0)
