"""What passes through a link, in each mode and each direction, told by a client and a server at its ends."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from cluster import link as link_module
from cluster.link_flow import HELD, PASSING
from cluster.link_pipe import QUEUE_LIMIT_BYTES, Last, Pipe, reset
from cluster.links import (
    BLACK_HOLE,
    DEAF,
    MUTE,
    PASS,
    REFUSE,
    RESET,
    Flow,
    Link,
    LinkGroup,
    LinkMode,
    delayed,
)
from cluster.ports import HOST, reserve_port

BOUND_S = 5.0
SILENCE_S = 0.1

pytestmark = pytest.mark.timeout(30)


class Server:
    """Echoes lines in capitals, and shows what arrived."""

    def __init__(self) -> None:
        self._port = reserve_port()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.received: asyncio.Queue[bytes] = asyncio.Queue()
        self.address = f"{HOST}:{self._port.number}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, HOST, self._port.number, reuse_address=True)

    async def die(self, *, orderly: bool = True) -> None:
        """Stop listening, then end every connection."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._writers):
            if orderly:
                writer.close()
            else:
                assert isinstance(writer.transport, asyncio.Transport)  # TCP
                reset(writer.transport)

    async def close(self) -> None:
        await self.die()
        self._port.release()

    async def say(self, line: bytes) -> None:
        for writer in self._writers:
            writer.write(line)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while line := await reader.readline():
                self.received.put_nowait(line)
                writer.write(line.upper())
        except ConnectionError:
            self.received.put_nowait(b"<reset>")
        else:
            self.received.put_nowait(b"<end>")
        finally:
            self._writers.discard(writer)
            writer.close()


@dataclass(slots=True)
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, line: bytes) -> bytes:
        self.writer.write(line)
        return await self.hear()

    async def hear(self) -> bytes:
        """The next line; empty at the end of the stream."""
        async with asyncio.timeout(BOUND_S):
            return await self.reader.readline()

    async def hears_nothing(self) -> bool:
        waiting = asyncio.ensure_future(self.reader.readline())
        done, _ = await asyncio.wait({waiting}, timeout=SILENCE_S)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return not done


@dataclass(slots=True)
class Ends:
    link: Link
    server: Server

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection(HOST, self.link.port))

    async def arrived(self) -> bytes:
        async with asyncio.timeout(BOUND_S):
            return await self.server.received.get()

    async def nothing_arrives(self) -> bool:
        try:
            async with asyncio.timeout(SILENCE_S):
                await self.server.received.get()
        except TimeoutError:
            return True
        return False

    async def becomes_reachable(self) -> Client:
        async with asyncio.timeout(BOUND_S):
            while True:
                try:
                    return await self.connect()
                except ConnectionRefusedError:
                    await asyncio.sleep(0.01)


@asynccontextmanager
async def joined() -> AsyncIterator[Ends]:
    server = Server()
    await server.start()
    link = Link("test", server.address)
    link.start()
    try:
        yield Ends(link, server)
    finally:
        await link.close()
        await server.close()


async def test_what_passes_arrives_whole_and_in_order() -> None:
    async with joined() as ends:
        client = await ends.connect()
        assert await client.ask(b"one\n") == b"ONE\n"
        lines = [os.urandom(5_000).hex().encode() + b"\n" for _ in range(4 * QUEUE_LIMIT_BYTES // 10_000)]
        client.writer.writelines(lines)
        assert [await client.hear() for _ in lines] == [line.upper() for line in lines]


async def test_small_pieces_do_not_wait_for_each_others_acknowledgement() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        (connection,) = ends.link._connections
        for pipe in (connection.requests, connection.answers):
            assert pipe.source is not None
            end: socket.socket = pipe.source.get_extra_info("socket")
            assert end.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_an_end_passes_and_leaves_the_other_direction_open() -> None:
    async with joined() as ends:
        client = await ends.connect()
        client.writer.write(b"last words\n")
        client.writer.write_eof()
        assert await client.hear() == b"LAST WORDS\n"
        assert await client.hear() == b""
        assert [await ends.arrived(), await ends.arrived()] == [b"last words\n", b"<end>"]


async def test_nothing_passes_a_black_hole_and_everything_arrives_after_it() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        await ends.arrived()
        ends.link.cut()
        assert ends.link.mode is BLACK_HOLE
        client.writer.write(b"first\n")
        client.writer.write(b"second\n")
        await ends.server.say(b"news\n")
        assert await client.hears_nothing()
        assert await ends.nothing_arrives()
        ends.link.heal()
        assert [await ends.arrived(), await ends.arrived()] == [b"first\n", b"second\n"]
        assert [await client.hear() for _ in range(3)] == [b"news\n", b"FIRST\n", b"SECOND\n"]


async def test_a_connection_made_in_a_black_hole_reaches_the_server_after_it() -> None:
    async with joined() as ends:
        ends.link.cut()
        client = await ends.connect()
        client.writer.write(b"hello?\n")
        assert await client.hears_nothing()
        assert await ends.nothing_arrives()
        ends.link.heal()
        assert await client.hear() == b"HELLO?\n"


async def test_nobody_hears_of_an_end_behind_a_black_hole() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        ends.link.cut()
        await ends.server.die()
        assert await client.hears_nothing()
        ends.link.heal()
        assert await client.hear() == b""


async def test_a_mute_client_hears_and_is_not_heard() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        await ends.arrived()
        ends.link.set_mode(MUTE)
        client.writer.write(b"hear me\n")
        await ends.server.say(b"news\n")
        assert await client.hear() == b"news\n"
        assert await ends.nothing_arrives()
        ends.link.set_mode(PASS)
        assert await ends.arrived() == b"hear me\n"


async def test_a_deaf_client_is_heard_and_does_not_hear() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        await ends.arrived()
        ends.link.set_mode(DEAF)
        client.writer.write(b"do it\n")
        assert await ends.arrived() == b"do it\n"
        assert await client.hears_nothing()
        ends.link.heal()
        assert await client.hear() == b"DO IT\n"


@pytest.mark.parametrize("mode", [delayed(requests_s=0.15), delayed(answers_s=0.15), delayed(0.1, 0.1)])
async def test_what_is_delayed_comes_late_and_in_order(mode: LinkMode) -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        ends.link.set_mode(mode)
        began_s = asyncio.get_running_loop().time()
        client.writer.write(b"one\n")
        await asyncio.sleep(0)
        client.writer.write(b"two\n")
        assert [await client.hear(), await client.hear()] == [b"ONE\n", b"TWO\n"]
        assert asyncio.get_running_loop().time() - began_s >= 0.15


async def test_what_is_on_a_slow_way_arrives_at_once_when_the_link_is_healed() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        await ends.arrived()
        ends.link.set_mode(delayed(requests_s=3000))
        client.writer.write(b"slow\n")
        assert await ends.nothing_arrives()
        client.writer.write_eof()
        ends.link.heal()
        assert [await ends.arrived(), await ends.arrived()] == [b"slow\n", b"<end>"]


async def test_a_refusing_link_resets_what_stands_and_refuses_what_comes() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        await ends.arrived()
        ends.link.set_mode(REFUSE)
        with pytest.raises(ConnectionResetError):
            await client.hear()
        assert await ends.arrived() == b"<reset>"
        with pytest.raises(ConnectionRefusedError):
            await ends.connect()
        ends.link.heal()
        assert await (await ends.connect()).ask(b"again\n") == b"AGAIN\n"


async def test_a_resetting_link_resets_what_stands_and_what_comes() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        ends.link.set_mode(RESET)
        with pytest.raises(ConnectionResetError):
            await client.hear()
        with pytest.raises(ConnectionResetError):
            await (await ends.connect()).hear()
        ends.link.heal()
        assert await (await ends.connect()).ask(b"again\n") == b"AGAIN\n"


async def test_a_single_reset_spares_who_comes_later() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        ends.link.reset()
        with pytest.raises(ConnectionResetError):
            await client.hear()
        assert await (await ends.connect()).ask(b"again\n") == b"AGAIN\n"


@pytest.mark.parametrize("orderly", [True, False], ids=["end of file", "reset"])
async def test_who_hears_of_the_servers_death_is_refused_when_connecting_again(orderly: bool) -> None:
    """As without a link: a refusal is what tells a death from a broken connection."""
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        await ends.server.die(orderly=orderly)
        if orderly:
            assert await client.hear() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await client.hear()
        with pytest.raises(ConnectionRefusedError):
            await ends.connect()
        await ends.server.start()
        assert await (await ends.becomes_reachable()).ask(b"again\n") == b"AGAIN\n"


async def test_the_first_to_find_nobody_is_reset_and_the_next_refused() -> None:
    async with joined() as ends:
        await ends.server.die()
        with pytest.raises(ConnectionResetError):
            await (await ends.connect()).hear()
        with pytest.raises(ConnectionRefusedError):
            await ends.connect()


async def test_an_end_for_a_receiver_that_left_unnoticed_is_swallowed() -> None:
    """While its bytes are held a side is not read, so its reset is found only when something is delivered to it."""
    with socket.create_server((HOST, 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    near.setblocking(False)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
    transport.pause_reading()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    ends: list[Last] = []
    pipe = Pipe(HELD, ends.append)
    pipe.set_sink(transport)
    pipe.put(Last.END)
    pipe.set_flow(PASSING)
    assert ends == [Last.END]
    transport.abort()


async def test_a_sender_into_a_black_hole_has_to_wait_instead_of_filling_the_memory() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        await ends.arrived()
        ends.link.cut()
        line = b"x" * 50_000 + b"\n"
        many = 16 * QUEUE_LIMIT_BYTES // len(line)
        client.writer.writelines([line] * many)
        drained = asyncio.create_task(client.writer.drain())
        assert await client.hears_nothing()
        assert not drained.done()
        ends.link.heal()
        answers = [await client.hear() for _ in range(many)]
        assert answers == [line.upper()] * many
        await drained


async def test_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_module, "MAX_CONNECTIONS", 2)
    async with joined() as ends:
        clients = [await ends.connect() for _ in range(2)]
        assert [await client.ask(b"in\n") for client in clients] == [b"IN\n"] * 2
        with pytest.raises(ConnectionResetError):
            await (await ends.connect()).hear()
        clients[0].writer.close()
        assert await ends.arrived() == b"in\n"
        while await ends.arrived() != b"<end>":
            pass
        async with asyncio.timeout(BOUND_S):
            while len(ends.link._connections) > 1:  # noqa: ASYNC110  # the link sets no event of ours
                await asyncio.sleep(0.01)
        assert await (await ends.connect()).ask(b"in again\n") == b"IN AGAIN\n"


async def test_closing_ends_everything_gives_the_port_back_and_may_be_repeated() -> None:
    async with joined() as ends:
        client = await ends.connect()
        await client.ask(b"hello\n")
        number = ends.link.port
        await ends.link.close()
        await ends.link.close()
        with pytest.raises(ConnectionRefusedError):
            await ends.connect()
        again = reserve_port(number)
        assert again.number == number
        again.release()


async def test_a_group_is_cut_and_healed_as_one() -> None:
    async with joined() as first, joined() as second:
        group = LinkGroup([first.link, second.link])
        assert (len(group), list(group), group[1]) == (2, [first.link, second.link], second.link)
        clients = [await first.connect(), await second.connect()]
        for client in clients:
            await client.ask(b"hello\n")
        group[1:].cut()
        assert [link.mode for link in group] == [PASS, BLACK_HOLE]
        group.cut()
        for client in clients:
            client.writer.write(b"anyone?\n")
        assert all([await client.hears_nothing() for client in clients])
        group.heal()
        assert [await client.hear() for client in clients] == [b"ANYONE?\n"] * 2
        group.reset()
        for client in clients:
            with pytest.raises(ConnectionResetError):
                await client.hear()
        group.set_mode(REFUSE)
        with pytest.raises(ConnectionRefusedError):
            await second.connect()


@pytest.mark.parametrize("delay_s", [-1, 3600, float("nan")])
def test_a_delay_that_makes_no_sense_is_refused(delay_s: float) -> None:
    with pytest.raises(ValueError, match="delay_s="):
        Flow(delay_s=delay_s)
