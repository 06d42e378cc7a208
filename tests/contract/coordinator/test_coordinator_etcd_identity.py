"""Positive by quorum, negative by quorum: what a single member says ends no term, whatever it says."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from etcd3 import etcdrpc
from structlog.testing import capture_logs
from tests.support.coordinator_rigs import BRISK, CLOCK
from tests.support.links import Relay

from cluster.etcd import EtcdCluster
from cluster.ports import HOST
from middleman.adapters.etcd import EtcdConfig, EtcdCoordinator
from middleman.ports.coordinator import CoordinatorMisconfigured, LeaderRecord

pytestmark = pytest.mark.timeout(60)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def foreign_cluster(server_root: Path) -> AsyncIterator[EtcdCluster]:
    """A healthy etcd of its own: what a mistyped address leads to."""
    cluster = await asyncio.to_thread(EtcdCluster, server_root / "etcd-foreign", members=2)
    async with cluster:
        yield cluster


@asynccontextmanager
async def _client(*endpoints: str, foreign: list[int] | None = None) -> AsyncIterator[EtcdCoordinator]:
    coordinator = EtcdCoordinator(
        EtcdConfig(endpoints, prefix="/identity"),
        BRISK,
        clock=CLOCK,
        uniform=random.Random(7).random,
        show_foreign=(foreign if foreign is not None else []).append,
    )
    try:
        yield coordinator
    finally:
        await coordinator.close()


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_an_endpoint_of_another_cluster_costs_neither_leader_nor_election(
    etcd_cluster: EtcdCluster, foreign_cluster: EtcdCluster, place: int
) -> None:
    endpoints = list(etcd_cluster.endpoints)
    endpoints[place] = foreign_cluster.endpoints[0]
    foreign: list[int] = []
    with capture_logs() as logs:
        async with _client(*endpoints, foreign=foreign) as client, _client(*endpoints) as other:
            await client.check()
            async with client.candidacy(0, "a") as leader:
                first = await leader.elected()
                async with other.candidacy(0, "b") as follower:
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(leader.lost(), 1.5 * BRISK.lease_ttl_s)
                    assert await leader.still_elected()
                    await leader.resign()
                    second = await asyncio.wait_for(follower.elected(), 0.5)
                    assert second.revision > first.revision
    assert foreign == [1]
    named = {log["member"] for log in logs if log["event"] == "etcd.member_foreign"}
    assert named == {foreign_cluster.endpoints[0]}


async def test_the_other_cluster_is_not_written_to(
    etcd_cluster: EtcdCluster, foreign_cluster: EtcdCluster
) -> None:
    endpoints = (foreign_cluster.endpoints[0], *etcd_cluster.endpoints[:2])
    async with _client(*endpoints) as client, client.candidacy(0, "a") as leader:
        await leader.elected()
        async with grpc.aio.insecure_channel(foreign_cluster.endpoints[0]) as channel:
            everything = etcdrpc.RangeRequest(key=b"\0", range_end=b"\0", count_only=True)
            assert (await etcdrpc.KVStub(channel).Range(everything, timeout=2)).count == 0
            # The stubs do not know this call; a header and nothing else is an empty list of leases.
            raw = await channel.unary_unary("/etcdserverpb.Lease/LeaseLeases")(b"", timeout=2)
            header = etcdrpc.LeaseRevokeResponse.FromString(raw).header
            assert raw == etcdrpc.LeaseRevokeResponse(header=header).SerializeToString()


async def test_a_name_that_moves_to_another_cluster_while_a_term_lasts_and_back_ends_no_term(
    etcd_cluster: EtcdCluster, foreign_cluster: EtcdCluster
) -> None:
    relays = [Relay(endpoint) for endpoint in etcd_cluster.endpoints]
    endpoints = [await relay.start() for relay in relays]
    shown: list[int] = []
    try:
        async with _client(*endpoints, foreign=shown) as client, client.candidacy(4, "a") as leader:
            await leader.elected()
            lost = asyncio.create_task(leader.lost())
            for relay, target, wanted in (
                (relays[0], foreign_cluster.endpoints[0], [1]),
                (relays[0], etcd_cluster.endpoints[0], [1, 0]),
            ):
                relay.move_to(target)
                async with asyncio.timeout(2 * BRISK.lease_ttl_s):
                    while shown != wanted:  # noqa: ASYNC110  # the next renewal shows it
                        await asyncio.sleep(0.05)
                await asyncio.wait({lost}, timeout=1.5 * BRISK.lease_ttl_s)
                assert not lost.done()
                assert await leader.still_elected()
            lost.cancel()
    finally:
        await asyncio.gather(*(relay.close() for relay in relays))


async def test_a_cluster_that_is_replaced_ends_the_term_and_the_new_one_elects(
    etcd_cluster: EtcdCluster, foreign_cluster: EtcdCluster
) -> None:
    relays = [Relay(endpoint) for endpoint in etcd_cluster.endpoints[:2]]
    endpoints = [await relay.start() for relay in relays]
    try:
        async with _client(*endpoints) as client:
            async with client.candidacy(4, "a") as leader:
                await leader.elected()
                for relay, target in zip(relays, foreign_cluster.endpoints, strict=True):
                    relay.move_to(target)
                await asyncio.wait_for(leader.lost(), 2 * BRISK.lease_ttl_s)
            async with client.candidacy(4, "b") as successor:
                await asyncio.wait_for(successor.elected(), 2 * BRISK.lease_ttl_s)
            async with _client(*foreign_cluster.endpoints) as witness:
                assert await witness.leader(4) is None  # "b" resigned there
    finally:
        await asyncio.gather(*(relay.close() for relay in relays))


async def test_endpoints_of_which_no_majority_is_one_cluster_are_a_misconfiguration(
    etcd_cluster: EtcdCluster, foreign_cluster: EtcdCluster
) -> None:
    mixed = (etcd_cluster.endpoints[0], foreign_cluster.endpoints[0])
    async with _client(*mixed) as client:
        with pytest.raises(CoordinatorMisconfigured, match="different clusters") as refusal:
            await client.check()
    assert all(endpoint in str(refusal.value) for endpoint in mixed)


async def test_the_cluster_to_which_a_majority_belongs_is_ours_whichever_is_listed_first(
    etcd_cluster: EtcdCluster, foreign_cluster: EtcdCluster
) -> None:
    async with _client(etcd_cluster.endpoints[0], *foreign_cluster.endpoints) as client:
        async with client.candidacy(3, "there") as candidacy:
            await candidacy.elected()
            async with _client(*foreign_cluster.endpoints) as witness:
                record = await witness.leader(3)
        assert isinstance(record, LeaderRecord)
        assert record.candidate == "there"


class Liar:
    """A member of the real cluster that writes with the others, but denies every lease and has no key."""

    def __init__(self, cluster_id: int, real: str) -> None:
        self.denied = 0
        self.hidden = 0
        self._real = real
        self._header = etcdrpc.ResponseHeader(cluster_id=cluster_id, revision=1)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        server = grpc.aio.server()
        lease = {
            "LeaseGrant": grpc.unary_unary_rpc_method_handler(self._forward("Lease/LeaseGrant")),
            "LeaseRevoke": grpc.unary_unary_rpc_method_handler(self._forward("Lease/LeaseRevoke")),
            "LeaseKeepAlive": grpc.stream_stream_rpc_method_handler(
                self._keep_alive,
                request_deserializer=etcdrpc.LeaseKeepAliveRequest.FromString,
                response_serializer=etcdrpc.LeaseKeepAliveResponse.SerializeToString,
            ),
        }
        kv = {
            "Txn": grpc.unary_unary_rpc_method_handler(self._forward("KV/Txn")),
            "Range": grpc.unary_unary_rpc_method_handler(
                self._range,
                request_deserializer=etcdrpc.RangeRequest.FromString,
                response_serializer=etcdrpc.RangeResponse.SerializeToString,
            ),
        }
        watch = {
            "Watch": grpc.stream_stream_rpc_method_handler(
                self._watch,
                request_deserializer=etcdrpc.WatchRequest.FromString,
                response_serializer=etcdrpc.WatchResponse.SerializeToString,
            )
        }
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler("etcdserverpb.Lease", lease),
                grpc.method_handlers_generic_handler("etcdserverpb.KV", kv),
                grpc.method_handlers_generic_handler("etcdserverpb.Watch", watch),
            )
        )
        port = server.add_insecure_port(f"{HOST}:0")
        await server.start()
        try:
            yield f"{HOST}:{port}"
        finally:
            await server.stop(None)

    def _forward(self, method: str) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
        async def forward(request: bytes, _: grpc.aio.ServicerContext) -> bytes:
            async with grpc.aio.insecure_channel(self._real) as channel:
                return bytes(await channel.unary_unary(f"/etcdserverpb.{method}")(request, timeout=2))

        return forward

    async def _keep_alive(
        self,
        requests: AsyncIterator[etcdrpc.LeaseKeepAliveRequest],
        _: grpc.aio.ServicerContext,
    ) -> AsyncIterator[etcdrpc.LeaseKeepAliveResponse]:
        async for request in requests:
            self.denied += 1
            yield etcdrpc.LeaseKeepAliveResponse(header=self._header, ID=request.ID, TTL=0)

    async def _range(
        self, request: etcdrpc.RangeRequest, _: grpc.aio.ServicerContext
    ) -> etcdrpc.RangeResponse:
        self.hidden += not request.serializable
        return etcdrpc.RangeResponse(header=self._header)

    async def _watch(
        self, requests: AsyncIterator[etcdrpc.WatchRequest], _: grpc.aio.ServicerContext
    ) -> AsyncIterator[etcdrpc.WatchResponse]:
        async for _request in requests:
            yield etcdrpc.WatchResponse(header=self._header, created=True)
            yield etcdrpc.WatchResponse(header=self._header, canceled=True, cancel_reason="no")


async def _cluster_id(cluster: EtcdCluster) -> int:
    async with grpc.aio.insecure_channel(cluster.endpoints[0]) as channel:
        answer = await etcdrpc.KVStub(channel).Range(etcdrpc.RangeRequest(key=b"k"), timeout=2)
        return int(answer.header.cluster_id)


async def test_a_member_that_alone_denies_lease_and_key_ends_no_term(etcd_cluster: EtcdCluster) -> None:
    """One that missed a write, or has just started and lags behind: it is asked first, and yet outvoted."""
    liar = Liar(await _cluster_id(etcd_cluster), etcd_cluster.endpoints[0])
    async with (
        liar.serve() as lying,
        _client(lying, *etcd_cluster.endpoints[:2]) as client,
        client.candidacy(5, "a") as leader,
    ):
        await leader.elected()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leader.lost(), 1.5 * BRISK.lease_ttl_s)
        leader.trust.require()
        assert await leader.still_elected()
        assert liar.denied > 0
        assert liar.hidden > 0


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (grpc.StatusCode.UNIMPLEMENTED, "unknown service"),
        (grpc.StatusCode.PERMISSION_DENIED, "etcdserver: permission denied"),
        (grpc.StatusCode.UNAUTHENTICATED, "etcdserver: invalid auth token"),
        (grpc.StatusCode.NOT_FOUND, "etcdserver: requested lease not found"),
    ],
)
async def test_a_member_that_alone_refuses_us_ends_no_term(
    etcd_cluster: EtcdCluster, code: grpc.StatusCode, details: str
) -> None:
    class Refusal(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc brings no types
        def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            async def refuse(_: bytes, context: grpc.aio.ServicerContext) -> bytes:
                await context.abort(code, details)
                return b""

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Refusal(),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        async with _client(f"{HOST}:{port}", *etcd_cluster.endpoints[:2]) as client:
            await client.check()
            async with client.candidacy(6, "a") as leader:
                await leader.elected()
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(leader.lost(), BRISK.lease_ttl_s)
                assert await leader.still_elected()
    finally:
        await server.stop(None)
