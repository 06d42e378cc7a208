"""The pulse over real sockets: what a follower can tell from the end of a connection, and from none."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from middleman.adapters.pulse import HttpPulse
from middleman.addresses import host_port
from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.entrypoints.replica.ops import ops_app
from middleman.ports.pulse import NoPulse

HOLDER = "replica-1#aa"


async def no_trouble() -> None:
    """A database that can be worked with."""


@asynccontextmanager
async def replica_endpoint(
    holder: str = HOLDER, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[str, web.AppRunner]]:
    """The real operations endpoint of a replica that is `holder`."""
    registry = CollectorRegistry()
    app = ops_app("replica-1", holder, ReplicaMetrics(registry), registry, lambda: True, no_trouble)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, 0)
    await site.start()
    try:
        yield host_port(host, runner.addresses[0][1]), runner
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_pulse_lasts_while_its_process_does_and_then_is_refused(host: str) -> None:
    async with replica_endpoint(host=host) as (address, runner):
        async with HttpPulse().feel(address, HOLDER) as beat:
            broken = asyncio.create_task(beat.broken())
            done, _ = await asyncio.wait({broken}, timeout=0.3)
            assert not done, "silence is life"
            await runner.cleanup()
            async with asyncio.timeout(2):
                assert await broken
        with pytest.raises(NoPulse) as refused:
            async with HttpPulse().feel(address, HOLDER):
                pass
    assert refused.value.definite


async def test_an_address_that_is_none_is_a_reason_that_lasts() -> None:
    with pytest.raises(NoPulse, match="is no address") as refused:
        async with HttpPulse().feel("::1:9000", HOLDER):
            pass
    assert refused.value.lasting
    assert not refused.value.definite


async def test_another_process_at_the_address_is_a_definite_no() -> None:
    async with replica_endpoint("replica-1#bb") as (address, _):
        with pytest.raises(NoPulse, match="answered by replica-1#bb") as stranger:
            async with HttpPulse().feel(address, HOLDER):
                pass
    assert stranger.value.definite


async def test_an_address_that_accepts_and_says_nothing_is_silence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        with pytest.raises(NoPulse) as silent:
            async with HttpPulse().feel(f"{host}:{port}", HOLDER):
                pass
    assert not silent.value.definite


async def test_a_server_that_is_no_replica_tells_nothing_definite() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        with pytest.raises(NoPulse, match="a stranger") as stranger:
            async with HttpPulse().feel(f"{host}:{port}", HOLDER):
                pass
    finally:
        server.close()
    assert not stranger.value.definite


async def test_a_listener_that_goes_leaves_nothing_behind() -> None:
    async with replica_endpoint() as (address, runner):
        async with HttpPulse().feel(address, HOLDER):
            assert runner.server is not None
            assert len(runner.server.connections) == 1
        async with asyncio.timeout(2):
            while runner.server.connections:  # noqa: ASYNC110 -- the server tells nobody
                await asyncio.sleep(0.01)
