"""A thin link: what passes in a second is bounded, each direction apart, and all connections share it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from cluster.link_flow import Flow, Line
from cluster.links import PASS, Link, LinkMode, delayed, throttled
from cluster.ports import HOST

BOUND_S = 10.0

pytestmark = pytest.mark.timeout(30)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def thin_link(mode: LinkMode) -> AsyncIterator[tuple[Link, asyncio.Queue[Streams]]]:
    """A link in that mode; the queue has the server's ends of the connections, in their order."""
    served: asyncio.Queue[Streams] = asyncio.Queue()
    writers: list[asyncio.StreamWriter] = []

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        served.put_nowait((reader, writer))

    server = await asyncio.start_server(serve, HOST, 0)
    host, port = server.sockets[0].getsockname()
    link = Link("thin", f"{host}:{port}")
    link.start()
    link.set_mode(mode)
    try:
        yield link, served
    finally:
        for writer in writers:
            writer.close()
        await link.close()
        server.close()
        await server.wait_closed()


async def connect(link: Link, served: asyncio.Queue[Streams]) -> tuple[Streams, Streams]:
    """Both ends of a new connection."""
    client = await asyncio.open_connection(HOST, link.port)
    async with asyncio.timeout(BOUND_S):
        return client, await served.get()


async def seconds_to_read(reader: asyncio.StreamReader, expected: bytes) -> float:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    async with asyncio.timeout(BOUND_S):
        assert await reader.readexactly(len(expected)) == expected
    return loop.time() - began_s


SENT = bytes(range(256)) * 40
RATE = 25_000
AT_LEAST_S = len(SENT) / RATE - 0.03


async def test_requests_are_slowed_down_and_answers_are_not() -> None:
    async with thin_link(throttled(requests_bytes_per_s=RATE)) as (link, served):
        client, server = await connect(link, served)
        client[1].write(SENT)
        assert await seconds_to_read(server[0], SENT) >= AT_LEAST_S
        server[1].write(SENT)
        assert await seconds_to_read(client[0], SENT) < AT_LEAST_S


async def test_answers_are_slowed_down_and_requests_are_not() -> None:
    async with thin_link(throttled(answers_bytes_per_s=RATE)) as (link, served):
        client, server = await connect(link, served)
        client[1].write(SENT)
        assert await seconds_to_read(server[0], SENT) < AT_LEAST_S
        server[1].write(SENT)
        assert await seconds_to_read(client[0], SENT) >= AT_LEAST_S


async def test_connections_share_the_link_and_take_turns() -> None:
    async with thin_link(throttled(requests_bytes_per_s=RATE)) as (link, served):
        first, first_server = await connect(link, served)
        second, second_server = await connect(link, served)
        first[1].write(SENT)
        second[1].write(SENT[:500])
        _, small_s = await asyncio.gather(
            seconds_to_read(first_server[0], SENT), seconds_to_read(second_server[0], SENT[:500])
        )
        assert small_s < AT_LEAST_S, "a few bytes need not wait until another connection's many are through"
        third, fourth = [seconds_to_read(each[0], SENT) for each in (first_server, second_server)]
        first[1].write(SENT)
        second[1].write(SENT)
        assert max(await asyncio.gather(third, fourth)) >= 2 * AT_LEAST_S


async def test_the_end_of_a_connection_comes_after_its_bytes() -> None:
    async with thin_link(throttled(requests_bytes_per_s=RATE)) as (link, served):
        client, server = await connect(link, served)
        client[1].write(SENT)
        client[1].write_eof()
        async with asyncio.timeout(BOUND_S):
            assert await server[0].read() == SENT


async def test_what_waits_arrives_at_once_when_the_link_is_healed() -> None:
    async with thin_link(throttled(requests_bytes_per_s=1)) as (link, served):
        client, server = await connect(link, served)
        client[1].write(SENT)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await server[0].read(1)
        link.heal()
        assert await seconds_to_read(server[0], SENT) < BOUND_S / 2


async def test_what_was_held_does_not_count_as_carried_meanwhile() -> None:
    async with thin_link(PASS) as (link, served):
        client, server = await connect(link, served)
        link.cut()
        client[1].write(SENT)
        await asyncio.sleep(AT_LEAST_S)  # the time itself is what must not count
        link.set_mode(throttled(requests_bytes_per_s=RATE))
        assert await seconds_to_read(server[0], SENT) >= AT_LEAST_S


async def test_a_connection_that_dies_with_its_piece_on_the_line_holds_nobody_up() -> None:
    async with thin_link(throttled(requests_bytes_per_s=RATE)) as (link, served):
        doomed, _ = await connect(link, served)
        other, other_server = await connect(link, served)
        doomed[1].write(SENT)
        other[1].write(b"still here")
        doomed[1].transport.abort()
        assert await seconds_to_read(other_server[0], b"still here") < BOUND_S / 2


def test_a_late_timer_costs_no_bandwidth() -> None:
    line, flow = Line(), Flow(bytes_per_s=1000)
    assert line.carry(100, flow, ready_s=5.0) == pytest.approx(5.1)
    assert line.carry(100, flow, ready_s=5.0) == pytest.approx(5.2)
    line.clear(now_s=9.0)
    assert line.carry(100, flow, ready_s=5.0) == pytest.approx(9.1)


@pytest.mark.parametrize("rate", [0, 0.5, -1, float("nan")])
def test_a_rate_below_a_byte_a_second_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="must be at least 1; to hold everything, cut"):
        throttled(requests_bytes_per_s=rate)


def test_each_direction_is_throttled_apart() -> None:
    assert throttled() == PASS == delayed()
    assert throttled(answers_bytes_per_s=10).requests == PASS.requests
