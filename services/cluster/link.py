"""A link: a TCP proxy that passes, holds, delays, throttles, refuses or resets, each direction apart.

A link that passes is meant not to be noticed: where nobody listens behind it, it refuses connections itself,
because to those who watch for a death a refusal is evidence and a reset is none. In a loop with little else to
do it adds some 40 microseconds to a round trip.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable

from cluster.link_flow import Line
from cluster.link_mode import BLACK_HOLE, PASS, Arrivals, LinkMode
from cluster.link_pipe import Connection
from cluster.ports import HOST, reserve_port

MAX_CONNECTIONS = 1024
_BACKLOG = 128
_CONNECT_TIMEOUT_S = 10.0
_LOOK_INTERVAL_S = 0.05


class Link:
    """A TCP proxy in the running event loop, from its own port to `target`; at most `MAX_CONNECTIONS`.

    In a black hole connections can still be made, as far as who connects can tell; nothing comes of them.
    """

    def __init__(self, name: str, target: str) -> None:
        """`target` is `host:port`, an IPv6 address in brackets. Reserves a port; raises `StartError` when there is none."""
        self.name = name
        self.mode = PASS
        self._target = _host_and_port(target)
        self._port = reserve_port()
        self._listener: socket.socket | None = None
        self._started = False
        self._lines = (Line(), Line())
        self._connections: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._requests_pass = asyncio.Event()
        self._requests_pass.set()

    def __repr__(self) -> str:
        return f"<link {self.name} {self.endpoint} -> {self._target[0]}:{self._target[1]}>"

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def endpoint(self) -> str:
        """`host:port` to connect to."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Begins to listen; the target need not be there yet."""
        self._started = True
        self._listen()

    async def close(self) -> None:
        """Ends every connection and gives the port back; harmless when repeated."""
        self._started = False
        self._stop_listening()
        for task in self._tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._port.release()

    def set_mode(self, mode: LinkMode) -> None:
        """What passes from now on; for connections that stand as well."""
        self.mode = mode
        if mode.requests.held:
            self._requests_pass.clear()
        else:
            self._requests_pass.set()
        for line in self._lines:
            line.clear(asyncio.get_running_loop().time())
        for connection in list(self._connections):
            connection.requests.set_flow(mode.requests)
            connection.answers.set_flow(mode.answers)
        if mode.arrivals is not Arrivals.ACCEPTED:
            self.reset()
        if mode.arrivals is Arrivals.REFUSED:
            self._stop_listening()
        elif self._started and self._looking is None:
            self._listen()

    def cut(self) -> None:
        """Nothing passes, in either direction, and nobody is told: a pulled cable."""
        self.set_mode(BLACK_HOLE)

    def heal(self) -> None:
        """Everything passes; what was held arrives now."""
        self.set_mode(PASS)

    def lead_to(self, target: str) -> None:
        """New connections go to `target` from now on; those that stand stay where they lead, as behind a moved name."""
        self._target = _host_and_port(target)

    def reset(self) -> None:
        """Resets every connection that stands, once."""
        for connection in list(self._connections):
            connection.reset()

    def _listen(self) -> None:
        if self._listener is not None:
            return
        # Named TCP, or the loop leaves Nagle's algorithm on for what is accepted: forty milliseconds here and there.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the reservation stays bound
        listener.setblocking(False)
        listener.bind((HOST, self.port))
        listener.listen(_BACKLOG)
        self._listener = listener
        asyncio.get_running_loop().add_reader(listener.fileno(), self._accept)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener.fileno())
            listener.close()

    def _accept(self) -> None:
        assert self._listener is not None  # its reader is removed before it is closed
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):  # given up before we looked
            accepted, _ = self._listener.accept()
            accepted.setblocking(False)
            self._begin(self._serve(accepted))

    async def _serve(self, accepted: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(
            self.mode.requests,
            self.mode.answers,
            lines=self._lines,
            server_ended=self._look_for_the_target,
            on_gone=self._connections.discard,
        )
        self._connections.add(connection)
        try:
            await loop.connect_accepted_socket(lambda: connection.client, accepted)
        except OSError:  # gone before we looked
            connection.abort()
            accepted.close()
            return
        if self.mode.arrivals is not Arrivals.ACCEPTED or len(self._connections) > MAX_CONNECTIONS:
            connection.reset()
            return
        await self._requests_pass.wait()  # a call that does not get through reaches nobody
        if connection not in self._connections:
            return  # reset meanwhile
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await loop.create_connection(lambda: connection.server, *self._target)
        except ConnectionRefusedError:
            self._await_the_target()
            connection.reset()
        except OSError:  # a timeout is one, too
            connection.reset()
        else:
            if connection not in self._connections:
                connection.abort()  # reset while the target answered

    async def _look_for_the_target(self) -> None:
        """The target ended a connection: see whether it is gone, before anybody is told and connects again."""
        if self.mode == PASS and self._looking is None and not await self._target_listens():
            self._await_the_target()

    def _await_the_target(self) -> None:
        """Nobody listens there: refuse as the target would, until somebody does."""
        if self._looking is None and self._started:
            self._stop_listening()
            self._looking = self._begin(self._look())

    async def _look(self) -> None:
        while not await self._target_listens():  # noqa: ASYNC110  # another process sets no event of ours
            await asyncio.sleep(_LOOK_INTERVAL_S)
        self._looking = None
        if self._started and self.mode.arrivals is not Arrivals.REFUSED:
            self._listen()

    async def _target_listens(self) -> bool:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(*self._target)
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # not heard is not refused
        writer.close()
        return True

    def _begin(self, work: "Awaitable[None]") -> "asyncio.Task[None]":
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)  # all our work is coroutines
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _host_and_port(target: str) -> tuple[str, int]:
    host, _, port = target.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)
