"""A cluster whose replicas reach everything through links of their own; stand-ins for our programs."""

from pathlib import Path

import pytest
from tests.support.processes import stand_in_commands

from cluster.cluster import Cluster
from cluster.errors import ClusterError
from cluster.health import answers_ok, http_client
from cluster.links import PASS
from cluster.spec import ClusterSpec


def a_spec(data_dir: Path, *, links: bool, etcd_members: int = 1) -> ClusterSpec:
    return ClusterSpec(
        data_dir=data_dir, replicas=2, etcd_members=etcd_members, links=links, commands=stand_in_commands()
    )


async def environment_of(url: str) -> dict[str, str]:
    """What a stand-in was told."""
    async with http_client(5.0) as client:
        environment: dict[str, str] = (await client.get(url)).json()
        return environment


async def test_replicas_are_told_their_links_and_reach_everything_through_them(short_dir: Path) -> None:
    async with Cluster(a_spec(short_dir / "cluster", links=True, etcd_members=3)) as cluster:
        first, second = cluster.links("replica-1"), cluster.links("replica-2")
        told = await environment_of(cluster.member("replica-1").url)
        api = await environment_of(cluster.member("api-1").url)
        assert told["MIDDLEMAN_ETCD_ENDPOINTS"] == ",".join(link.endpoint for link in first.etcd)
        assert f"@127.0.0.1:{first.postgres.port}/" in told["MIDDLEMAN_DATABASE_URL"]
        assert first.processor is not None
        assert told["MIDDLEMAN_STRIPE_API_BASE"] == f"http://{first.processor.endpoint}"
        assert told["MIDDLEMAN_OPS_ADVERTISE"] == first.peer.endpoint
        address = cluster.superuser_database_url.partition("@")[2]  # which a failover moves
        assert api["MIDDLEMAN_DATABASE_URL"].endswith(f"@{address}")
        assert f":{cluster.postgres.port}/" not in address
        assert api["MIDDLEMAN_STRIPE_API_BASE"] == cluster.sandbox.url
        ports = {link.port for links in (first, second) for link in links.all}
        assert len(ports) == 12
        assert not ports & {member.port for member in cluster.members}

        for link in first.etcd:
            assert await answers_ok(f"http://{link.endpoint}/health")
        assert await answers_ok(f"http://{first.peer.endpoint}/readyz")
        first.etcd.cut()
        assert not await answers_ok(f"http://{first.etcd[1].endpoint}/health")
        assert await answers_ok(f"http://{second.etcd[1].endpoint}/health")
        await cluster.heal()
        assert {link.mode for link in first.all} == {PASS}
        assert await answers_ok(f"http://{first.etcd[1].endpoint}/health")
        with pytest.raises(ClusterError, match="no links of 'replica-9': this cluster has replica-1, repl"):
            cluster.links("replica-9")


async def test_a_cluster_without_links_says_so(short_dir: Path) -> None:
    async with Cluster(a_spec(short_dir / "cluster", links=False)) as cluster:
        with pytest.raises(ClusterError, match="links=False"):
            cluster.links("replica-1")
        assert "MIDDLEMAN_OPS_ADVERTISE" not in await environment_of(cluster.member("replica-1").url)
