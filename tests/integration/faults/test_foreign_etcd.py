"""One of three endpoints leads to another etcd cluster, as a typing error or a name that moved makes it."""

import asyncio
from pathlib import Path

from tests.support.fault_world import LEASE_TTL_S, SAFE, FaultWorld

from cluster.etcd import EtcdCluster
from cluster.health import http_client


async def test_a_foreign_endpoint_ends_no_term_and_is_named(world: FaultWorld, server_root: Path) -> None:
    async with await asyncio.to_thread(
        EtcdCluster, server_root / "foreign-etcd", members=1, fresh=True
    ) as foreign:
        endpoints = (foreign.endpoints[0], *world.cluster.etcd.endpoints[1:])
        mixed = {"MIDDLEMAN_ETCD_ENDPOINTS": ",".join(endpoints)}
        await world.team(replica_1=mixed, replica_2=mixed)
        leader = await world.leader()
        for name in ("replica-1", "replica-2"):
            named = await world.until_logged(name, "etcd.member_foreign")
            assert named["member"] == foreign.endpoints[0]
            async with http_client() as client:
                shown = (await client.get(f"{world.cluster.member(name).url}/metrics")).text
            assert "middleman_etcd_members_foreign 1.0" in shown
        await asyncio.sleep(2 * LEASE_TTL_S)  # in which every term used to end
        assert await world.leader() == leader
        assert not world.log(leader.name, "term.ended")
        prefix = await world.subscribe(20)
        await world.assert_charged_once(prefix, 20)
    await world.team(replica_1=SAFE, replica_2=SAFE, replica_3=SAFE)
