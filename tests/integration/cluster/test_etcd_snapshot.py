"""Snapshots of a real etcd: after a restore its revisions have gone back."""

import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from cluster import etcd_binary, etcd_snapshot
from cluster.errors import ClusterError
from cluster.etcd import EtcdCluster, EtcdMember, EtcdTiming
from cluster.health import http_client


@pytest_asyncio.fixture
async def etcd(short_dir: Path) -> AsyncIterator[EtcdCluster]:
    """A cluster that may lose what it knows."""
    async with EtcdCluster(short_dir / "etcd", timing=EtcdTiming(unsafe_no_fsync=True)) as cluster:
        yield cluster


async def call(member: EtcdMember, path: str, **body: object) -> dict[str, Any]:
    async with http_client(5.0) as client:
        answer: dict[str, Any] = (await client.post(f"{member.url}/v3/{path}", json=body)).json()
        return answer


async def put(member: EtcdMember, key: str, lease: str = "0") -> int:
    """The revision of the write."""
    encoded = base64.b64encode(key.encode()).decode()
    answer = await call(member, "kv/put", key=encoded, value=encoded, lease=lease)
    return int(answer["header"]["revision"])


async def holds(member: EtcdMember, key: str) -> bool:
    return "kvs" in await call(member, "kv/range", key=base64.b64encode(key.encode()).decode())


async def cluster_id(member: EtcdMember) -> str:
    return str((await call(member, "maintenance/status"))["header"]["cluster_id"])


async def test_after_a_restore_revisions_have_gone_back_under_the_same_cluster_id(
    etcd: EtcdCluster, short_dir: Path
) -> None:
    first = etcd.members[0]
    lease = str((await call(first, "lease/grant", TTL=60))["ID"])
    kept = await put(first, "kept", lease)
    await etcd.snapshot(short_dir / "snapshots" / "one.db")
    for number in range(5):
        forgotten = await put(first, f"forgotten-{number}")
    assert forgotten == kept + 5
    before = (await cluster_id(first), etcd.endpoints, [member.pid for member in etcd.members])

    await etcd.restore(short_dir / "snapshots" / "one.db")

    assert (await cluster_id(first), etcd.endpoints) == before[:2]
    assert all(member.is_running for member in etcd.members)
    assert not {member.pid for member in etcd.members} & set(before[2])
    for member in etcd.members:
        assert await holds(member, "kept")
        assert not await holds(member, "forgotten-0")
    assert await put(etcd.members[2], "again") == kept + 1
    assert (await call(first, "lease/timetolive", ID=lease))["TTL"] != "-1", (
        "leases come back with their keys"
    )
    assert sorted(path.name for path in (short_dir / "etcd").iterdir() if path.is_dir()) == [
        "etcd-1",
        "etcd-2",
        "etcd-3",
    ]


async def test_a_restore_works_on_members_that_are_dead_or_frozen(etcd: EtcdCluster, short_dir: Path) -> None:
    await put(etcd.members[0], "kept")
    await etcd.snapshot(short_dir / "one.db")
    await etcd.members[0].kill()
    etcd.members[1].pause()
    await etcd.restore(short_dir / "one.db")
    assert await holds(etcd.members[1], "kept")


async def test_a_snapshot_that_is_none_leaves_the_cluster_as_it_was(
    etcd: EtcdCluster, short_dir: Path
) -> None:
    await put(etcd.members[0], "kept")
    pids = [member.pid for member in etcd.members]
    with pytest.raises(ClusterError, match=r"no snapshot at .*nowhere\.db: take one first"):
        await etcd.restore(short_dir / "nowhere.db")
    (short_dir / "garbage.db").write_bytes(os.urandom(100_000))
    with pytest.raises(ClusterError, match=r"(?s)restoring etcd-. from garbage\.db failed"):
        await etcd.restore(short_dir / "garbage.db")
    assert [member.pid for member in etcd.members] == pids
    assert await holds(etcd.members[0], "kept")
    assert len([path for path in (short_dir / "etcd").iterdir() if path.is_dir()]) == 3


async def test_without_etcds_tools_it_says_what_to_install(
    etcd: EtcdCluster, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (short_dir / "one.db").write_bytes(b"")
    monkeypatch.setattr(etcd_snapshot, "etcd_tool", lambda name: None)
    with pytest.raises(ClusterError, match=r"no etcdctl .* install etcd-client"):
        await etcd.snapshot(short_dir / "two.db")
    with pytest.raises(ClusterError, match=r"neither etcdutl nor etcdctl .* install etcd-client"):
        await etcd.restore(short_dir / "one.db")


def test_tools_beside_etcd_come_before_those_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, on_path = tmp_path / "beside", tmp_path / "path"
    for directory in (beside, on_path):
        directory.mkdir()
        for name in ("etcdctl", "etcdutl") if directory is on_path else ("etcdctl",):
            (directory / name).write_text("#!/bin/sh\n")
            (directory / name).chmod(0o755)
    monkeypatch.setattr(etcd_binary, "etcd_binary", lambda: str(beside / "etcd"))
    monkeypatch.setenv("PATH", str(on_path))
    assert etcd_binary.etcd_tool("etcdctl") == str(beside / "etcdctl")
    assert etcd_binary.etcd_tool("etcdutl") == str(on_path / "etcdutl")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert etcd_binary.etcd_tool("etcdutl") is None
