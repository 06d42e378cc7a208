"""One connection through a link: two pipes, one for each direction."""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto

from cluster.link_flow import PASSING, Flow, Line

QUEUE_LIMIT_BYTES = 1 << 20
_LINGER_AND_RESET = struct.pack("ii", 1, 0)


class Last(Enum):
    """How a direction ends."""

    END = auto()
    RESET = auto()


class Pipe:
    """One direction of one connection. At most `QUEUE_LIMIT_BYTES` wait in it; the rest waits at the sender."""

    def __init__(self, flow: Flow, on_last: Callable[[Last], None], line: Line | None = None) -> None:
        """`on_last` is called once the end was delivered; `line` is shared by all that goes this way."""
        self.source: asyncio.Transport | None = None
        self._sink: asyncio.Transport | None = None
        self._flow = flow
        self._on_last = on_last
        self._line = line or Line()
        self._arrives_s: float | None = None  # when the piece is through that has the line now
        self._queue: deque[tuple[float, bytes | Last]] = deque()
        self._queued_bytes = 0
        self._sink_full = False
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    def set_flow(self, flow: Flow) -> None:
        """From now on; what waits already never waits longer than the new flow asks for."""
        self._flow = flow
        self._arrives_s = None
        latest_s = asyncio.get_running_loop().time() + flow.delay_s
        self._queue = deque((min(due_s, latest_s), item) for due_s, item in self._queue)
        self._pump()

    def set_source(self, source: asyncio.Transport) -> None:
        """Who sends."""
        self.source = source
        self._balance()

    def set_sink(self, sink: asyncio.Transport) -> None:
        """Who receives; until then everything waits."""
        self._sink = sink
        self._pump()

    def set_sink_full(self, full: bool) -> None:
        """The receiver's buffer is full, or no longer."""
        self._sink_full = full
        self._balance()

    def put(self, item: bytes | Last) -> None:
        """Something came from the source."""
        if self._closed:
            return
        if not self._queue and self._flow == PASSING and self._sink is not None:
            self._deliver(self._sink, item)
            return
        self._queue.append((asyncio.get_running_loop().time() + self._flow.delay_s, item))
        self._queued_bytes += _size(item)
        self._pump()

    def close(self) -> None:
        """Deliver nothing any more."""
        self._closed = True
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._queue and not self._flow.held and self._sink is not None:
            due_s, item = self._queue[0]
            piece_bytes = self._flow.piece_bytes(_size(item))
            if self._arrives_s is None:
                self._arrives_s = self._line.carry(piece_bytes, self._flow, due_s)
            if self._arrives_s > loop.time():
                self._timer = loop.call_at(self._arrives_s, self._pump)
                break
            self._arrives_s = None
            self._take(piece_bytes)
        self._balance()

    def _take(self, piece_bytes: int) -> None:
        """Deliver the first item, or so much of it."""
        assert self._sink is not None  # looked at by whoever calls
        due_s, item = self._queue.popleft()
        self._queued_bytes -= piece_bytes
        if isinstance(item, bytes) and piece_bytes < len(item):
            self._queue.appendleft((due_s, item[piece_bytes:]))
            item = item[:piece_bytes]
        self._deliver(self._sink, item)

    def _deliver(self, sink: asyncio.Transport, item: bytes | Last) -> None:
        if isinstance(item, bytes):
            sink.write(item)  # one that is gone swallows it, as a network would
            return
        if item is Last.RESET:
            reset(sink)
        elif not sink.is_closing():
            with contextlib.suppress(OSError):  # it reset the connection while nobody read from it
                sink.write_eof()
        self._on_last(item)

    def _balance(self) -> None:
        if self.source is None or self.source.is_closing():
            return
        if self._flow.held or self._sink_full or self._queued_bytes > QUEUE_LIMIT_BYTES:
            self.source.pause_reading()
        else:
            self.source.resume_reading()


class Connection:
    """A client, the server that it reaches, and the pipes between them."""

    def __init__(
        self,
        requests: Flow,
        answers: Flow,
        *,
        lines: tuple[Line, Line],
        server_ended: Callable[[], Awaitable[None]],
        on_gone: Callable[["Connection"], None],
    ) -> None:
        """`lines` carry requests and answers; `server_ended` is awaited before the client hears of that end."""
        self._server_ended = server_ended
        self._on_gone = on_gone
        self._ended: set[Pipe] = set()
        self._telling: asyncio.Task[None] | None = None
        self.requests = Pipe(requests, lambda last: self._last_delivered(self.requests, last), lines[0])
        self.answers = Pipe(answers, lambda last: self._last_delivered(self.answers, last), lines[1])
        self.client = _End(out=self.requests, into=self.answers, ended=self.requests.put)
        self.server = _End(out=self.answers, into=self.requests, ended=self._server_said_last)

    def reset(self) -> None:
        """End both sides with a reset, held or not."""
        self._close()
        for transport in (self.requests.source, self.answers.source):
            if transport is not None:
                reset(transport)

    def abort(self) -> None:
        """End both sides at once, as the death of their process would."""
        self._close()
        for transport in (self.requests.source, self.answers.source):
            if transport is not None:
                transport.abort()

    def _server_said_last(self, last: Last) -> None:
        if self.requests in self._ended:
            self.answers.put(last)  # the client left first: there is nobody to be surprised
            return
        self._telling = asyncio.create_task(self._tell_client(last, after=self._telling))

    async def _tell_client(self, last: Last, after: "asyncio.Task[None] | None") -> None:
        if after is not None:
            await asyncio.wait({after})
        await self._server_ended()
        self.answers.put(last)

    def _last_delivered(self, pipe: Pipe, last: Last) -> None:
        self._ended.add(pipe)
        if last is Last.END and len(self._ended) < 2:
            return  # half of it stands
        self._close()
        for transport in (self.requests.source, self.answers.source):
            if transport is None:
                continue
            if last is Last.RESET:
                reset(transport)
            else:
                transport.close()

    def _close(self) -> None:
        self.requests.close()
        self.answers.close()
        if self._telling is not None:
            self._telling.cancel()
        self._on_gone(self)


class _End(asyncio.Protocol):
    """What the loop calls for one side of a connection."""

    def __init__(self, *, out: Pipe, into: Pipe, ended: Callable[[Last], None]) -> None:
        self._out, self._into, self._ended = out, into, ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # TCP on both sides
        self._out.set_source(transport)
        self._into.set_sink(transport)

    def data_received(self, data: bytes) -> None:
        self._out.put(data)

    def eof_received(self) -> bool:
        self._ended(Last.END)
        return True  # the other direction may still have something to say

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended(Last.RESET)  # after an orderly end on both sides nobody listens to this any more

    def pause_writing(self) -> None:
        self._into.set_sink_full(True)

    def resume_writing(self) -> None:
        self._into.set_sink_full(False)


def reset(transport: asyncio.Transport) -> None:
    """Close with a reset instead of an end of file."""
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        with contextlib.suppress(OSError):  # gone meanwhile: then there is nothing left to reset
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_AND_RESET)
    transport.abort()


def _size(item: bytes | Last) -> int:
    return len(item) if isinstance(item, bytes) else 0
