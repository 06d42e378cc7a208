"""The whole cluster: real servers, stand-ins for our own programs."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.support.processes import eventually, is_gone, stand_in_commands

from cluster.cluster import Cluster
from cluster.errors import ClusterError, DataDirLockedError, StartError
from cluster.health import answers_ok, http_client
from cluster.spec import ClusterSpec
from cluster.state import ClusterState


@pytest.fixture
def data_dir(short_dir: Path) -> Path:
    """Where one cluster lives."""
    return short_dir / "cluster"


def a_spec(data_dir: Path, **changes: Any) -> ClusterSpec:
    settings: dict[str, Any] = {"replicas": 2, "etcd_members": 1, "commands": stand_in_commands()}
    return ClusterSpec(data_dir=data_dir, **(settings | changes))


async def environment_of(url: str) -> dict[str, str]:
    async with http_client(5.0) as client:
        environment: dict[str, str] = (await client.get(url)).json()
        return environment


async def test_every_member_runs_and_is_described_to_other_processes(data_dir: Path) -> None:
    async with Cluster(a_spec(data_dir)) as cluster:
        names = [member.name for member in cluster.members]
        assert names == ["postgres", "etcd-1", "sandbox", "api-1", "replica-1", "replica-2"]
        assert all([await member.is_ready() for member in cluster.members])
        assert set(cluster.ready_after_s) == {*names, "etcd", "schema"} - {"etcd-1"}

        state = ClusterState.load(data_dir)
        assert state == cluster.state()
        assert state.supervisor_pid == os.getpid()
        assert [member.pid for member in state.members] == [member.pid for member in cluster.members]
        assert state.api_urls == (cluster.apis[0].url,)
    assert not (data_dir / "state.json").exists()
    with pytest.raises(ClusterError, match="no cluster is running"):
        ClusterState.load(data_dir)


async def test_api_and_replicas_are_told_what_they_need(data_dir: Path) -> None:
    extra = {"replica": {"MIDDLEMAN_FAILPOINTS": "all"}, "replica-2": {"MIDDLEMAN_UNSAFE": "yes"}}
    async with Cluster(a_spec(data_dir, extra_env=extra, lease_ttl_s=5)) as cluster:
        api = await environment_of(cluster.member("api-1").url)
        first = await environment_of(cluster.member("replica-1").url)
        second = await environment_of(cluster.member("replica-2").url)
        keys, postgres = cluster.keys, cluster.postgres
    assert api["MIDDLEMAN_DATABASE_URL"] == postgres.dsn(user="middleman_api", password=keys.db_password_api)
    assert api["MIDDLEMAN_API_HOST"] == "127.0.0.1"
    assert first["MIDDLEMAN_DATABASE_URL"] == postgres.dsn(
        user="middleman_replica", password=keys.db_password_replica
    )
    assert first["MIDDLEMAN_REPLICA_NAME"] == "replica-1"
    assert first["MIDDLEMAN_LEASE_TTL_S"] == "5"
    assert first["MIDDLEMAN_OPS_TOKEN"] == keys.ops_token
    assert "MIDDLEMAN_OPS_TOKEN" not in api
    assert api["STRIPE_WEBHOOK_SECRET"] == keys.webhook_secret
    assert "STRIPE_WEBHOOK_SECRET" not in first
    assert first["MIDDLEMAN_ETCD_ENDPOINTS"] == ",".join(cluster_endpoints(data_dir))
    for environment in (api, first):
        assert environment["STRIPE_API_KEY"] == keys.sandbox_api_key
        assert environment["MIDDLEMAN_STRIPE_API_BASE"].startswith("http://127.0.0.1:")
        assert environment["MIDDLEMAN_ENVIRONMENT"] == "test"
    assert first["MIDDLEMAN_FAILPOINTS"] == second["MIDDLEMAN_FAILPOINTS"] == "all"
    assert "MIDDLEMAN_UNSAFE" not in first
    assert second["MIDDLEMAN_UNSAFE"] == "yes"


def cluster_endpoints(data_dir: Path) -> list[str]:
    ports: dict[str, list[int]] = json.loads((data_dir / "etcd" / "ports.json").read_text())
    return [f"127.0.0.1:{client}" for client, _peer in ports.values()]


async def test_without_the_sandbox_the_processor_is_stripe_itself(data_dir: Path) -> None:
    spec = a_spec(data_dir, replicas=1, with_sandbox=False, stripe_api_key="sk_test_mine")
    async with Cluster(spec) as cluster:
        replica = await environment_of(cluster.replicas[0].url)
        assert cluster.state().sandbox is None
        with pytest.raises(ClusterError, match="has no sandbox"):
            _ = cluster.sandbox
    assert (replica["STRIPE_API_KEY"], replica["MIDDLEMAN_STRIPE_API_BASE"]) == ("sk_test_mine", "")


async def test_a_second_start_finds_data_keys_and_ports_as_they_were(data_dir: Path) -> None:
    async with Cluster(a_spec(data_dir)) as first:
        ports = [member.port for member in first.members]
        keys = first.keys
        connection = await first.postgres.connect()
        await connection.execute("CREATE TABLE kept ()")
        await connection.close()
    async with Cluster(a_spec(data_dir)) as second:
        assert [member.port for member in second.members] == ports
        assert second.keys == keys
        connection = await second.postgres.connect()
        assert await connection.fetchval("SELECT to_regclass('kept')::text") == "kept"
        await connection.close()
    async with Cluster(a_spec(data_dir, fresh=True)) as third:
        assert third.keys != keys
        connection = await third.postgres.connect()
        assert await connection.fetchval("SELECT to_regclass('kept')::text") is None
        await connection.close()


async def test_two_clusters_run_side_by_side_but_not_on_the_same_data(short_dir: Path) -> None:
    async with Cluster(a_spec(short_dir / "one", replicas=1)) as one:
        with pytest.raises(DataDirLockedError, match=f"in use by process {os.getpid()}"):
            await Cluster(a_spec(short_dir / "one")).start()
        async with Cluster(a_spec(short_dir / "two", replicas=1)) as two:
            ports = [member.port for member in (*one.members, *two.members)]
            assert len(set(ports)) == len(ports)
        assert await answers_ok(one.apis[0].url)


@pytest.mark.parametrize("culprit", ["migrate", "replica-2"])
async def test_a_failure_to_start_names_the_culprit_and_leaves_nothing_behind(
    data_dir: Path, culprit: str
) -> None:
    cluster = Cluster(a_spec(data_dir, extra_env={culprit: {"STAND_IN_DIE": "9"}}))
    with pytest.raises(StartError, match=rf"(?s){culprit}.* exit code 9.*dies as told"):
        await cluster.start()
    assert not processes_mentioning(data_dir)
    async with Cluster(a_spec(data_dir)):  # the lock and the ports are free again
        pass


def processes_mentioning(data_dir: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue  # gone since the listing
            if str(data_dir) in command:
                found.append(command)
    return found


async def test_members_are_stopped_before_those_that_they_need(data_dir: Path) -> None:
    journal = data_dir.parent / "journal"
    env = {kind: {"STAND_IN_JOURNAL": str(journal)} for kind in ("api", "replica", "sandbox")}
    async with Cluster(a_spec(data_dir, extra_env=env)) as cluster:
        postgres_pid = cluster.postgres.pid
        assert postgres_pid is not None
    assert journal.read_text().split() == ["replica", "replica", "api", "sandbox"]
    assert is_gone(postgres_pid)


async def test_the_state_file_follows_deaths_and_restarts(data_dir: Path) -> None:
    def published_pid() -> int | None:
        members = ClusterState.load(data_dir).members
        return next(member.pid for member in members if member.name == "replica-1")

    async with Cluster(a_spec(data_dir)) as cluster:
        replica = cluster.member("replica-1")
        await replica.kill()
        await eventually(lambda: published_pid() is None)
        cluster.member("api-1").pause()
        await cluster.heal()
        assert published_pid() == replica.pid
        assert await cluster.member("api-1").is_ready()


async def test_an_unknown_member_is_answered_with_the_known_ones(data_dir: Path) -> None:
    cluster = Cluster(a_spec(data_dir))
    with pytest.raises(ClusterError, match="is not running: start it first"):
        cluster.member("replica-1")
    async with cluster:
        with pytest.raises(ClusterError, match="no member 'replica-9': there are postgres, etcd-1"):
            cluster.member("replica-9")
