"""Channels to members that move: a container or a pod that starts again may do so at another address."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import grpc
import pytest
from etcd3 import etcdrpc

from middleman.adapters.etcd.members import Member

NAME = "etcd-1.test"
BEFORE, AFTER = "127.0.0.2", "127.0.0.3"
FOUND_WITHIN_S = 10.0
"""gRPC by itself asks for a name's address every thirty seconds at most."""
_HEADER = struct.Struct(">HHHHHH")
_ADDRESS = struct.Struct(">HHHIH4s")
_ANSWERED = 0x8180
_A = 1


class NameService(asyncio.DatagramProtocol):
    """Says that every name is at `address` (RFC 1035: the question again, then a pointer to it and the address)."""

    def __init__(self, address: str) -> None:
        self.address = address

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        number = int.from_bytes(data[:2])
        question = data[_HEADER.size : data.index(b"\0", _HEADER.size) + 5]
        is_asked = question[-4:-2] == _A.to_bytes(2)
        answer = _ADDRESS.pack(0xC00C, _A, 1, 1, 4, socket.inet_aton(self.address)) if is_asked else b""
        header = _HEADER.pack(number, _ANSWERED, 1, int(is_asked), 0, 0)
        self._transport.sendto(header + question + answer, addr)


class AnyCall(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc brings no types
    """Answers every call with an empty message."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        async def answer(_: bytes, __: object) -> bytes:
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


Serve = Callable[..., Awaitable[int]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serve at an address, and nowhere else any more; returns the port."""
    servers: list[grpc.aio.Server] = []

    async def serve(address: str, port: int = 0) -> int:
        for server in servers:
            await server.stop(None)
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((AnyCall(),))
        port = server.add_insecure_port(f"{address}:{port}")
        await server.start()
        servers.append(server)
        return port

    yield serve
    for server in servers:
        await server.stop(None)


@pytest.fixture
async def names() -> AsyncIterator[tuple[NameService, int]]:
    transport, service = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: NameService(BEFORE), local_addr=("127.0.0.1", 0)
    )
    yield service, transport.get_extra_info("sockname")[1]
    transport.close()


async def test_a_member_that_starts_again_at_another_address_is_found_there(
    names: tuple[NameService, int], serve: Serve
) -> None:
    service, names_port = names
    port = await serve(BEFORE)
    member = Member(f"dns://127.0.0.1:{names_port}/{NAME}:{port}", None)
    await member.kv.Range(etcdrpc.RangeRequest(key=b"k"), timeout=5.0)

    await serve(AFTER, port)
    service.address = AFTER
    try:
        async with asyncio.timeout(FOUND_WITHIN_S):
            await _until_answered(member)
    finally:
        await member.channel.close()


async def test_a_member_at_an_ipv6_address_is_reached(serve: Serve) -> None:
    port = await serve("[::1]")
    member = Member(f"[::1]:{port}", None)
    try:
        await member.kv.Range(etcdrpc.RangeRequest(key=b"k"), timeout=5.0)
    finally:
        await member.channel.close()


async def test_a_proxy_in_the_environment_diverts_no_etcd_traffic(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, unused_tcp_port: int
) -> None:
    """gRPC asks these for its channels, and the container engine may set them for every container."""
    for name in ("grpc_proxy", "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{unused_tcp_port}")
    for name in ("no_grpc_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    port = await serve(BEFORE)
    member = Member(f"{BEFORE}:{port}", None)
    try:
        await member.kv.Range(etcdrpc.RangeRequest(key=b"k"), timeout=5.0)
    finally:
        await member.channel.close()


async def _until_answered(member: Member) -> None:
    while True:
        try:
            await member.kv.Range(etcdrpc.RangeRequest(key=b"k"), timeout=1.0)
        except grpc.RpcError:
            await asyncio.sleep(0.1)
        else:
            return
