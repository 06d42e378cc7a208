"""HTTP/1.1 over asyncio, written out so that a fault can end a connection in any way a network can.

A general server hides its sockets; here the reply may be dropped, reset or cut in half on purpose. Requests of one
connection are answered one after another, in their order, also when a client pipelines them.
"""

import asyncio
import contextlib
import socket
import struct
from collections import deque
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus
from typing import Protocol, cast

import httptools
import orjson

MAX_BODY_BYTES = 1024 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_PIPELINED = 64
IDLE_TIMEOUT_S = 300.0
LINGER_S = 2.0

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_RESET = struct.pack("ii", 1, 0)


class Ending(Enum):
    """How a request's connection goes on."""

    REPLY = "reply"
    CLOSE = "close"
    RESET = "reset"
    TRUNCATE = "truncate"


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `path` and `query` as sent (not decoded), header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json"


def json_reply(status: int, document: object, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """An answer with a JSON document."""
    return Reply(status, orjson.dumps(document), headers)


class Handler(Protocol):
    """Takes each request and calls `connection.finish` exactly once for it, now or later."""

    def http_date(self) -> str:
        """The header `Date` of an answer that leaves now."""
        ...

    def handle(self, connection: "Connection", request: Request) -> None: ...


class Connection(asyncio.Protocol):
    """One client's connection: parses requests, queues pipelined ones, writes replies."""

    def __init__(self, handler: Handler, open_connections: "set[Connection]") -> None:
        self._handler = handler
        self._open = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._busy = False
        self._keep_alive = True
        self._closing = False
        self._refusal: bytes | None = None
        self._head_only = False
        self._writing_paused = False
        self.last_active_s = 0.0
        self._start_message()

    def _start_message(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._body: list[bytes] = []
        self._body_bytes = 0

    @property
    def idle(self) -> bool:
        """True while no request is being answered."""
        return not self._busy

    @property
    def _deaf(self) -> bool:
        """True when nothing that still arrives counts: the connection ends, maybe after replies that it still owes."""
        return self._closing or self._refusal is not None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports behave like asyncio.Transport without being one, so no isinstance here.
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)
        self.last_active_s = asyncio.get_running_loop().time()

    def connection_lost(self, exc: Exception | None) -> None:
        # A request in execution goes on: what the client does not see has happened all the same.
        self._transport = None
        self._open.discard(self)
        self._waiting.clear()

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "This server speaks HTTP/1.1 only: send no Upgrade header.")
        except (httptools.HttpParserError, UnicodeDecodeError):
            self._refuse(400, "This is not a well-formed HTTP/1.1 request.")

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        # A client that does not read its replies may not ask for more.
        self._writing_paused = True
        self._read_or_not()

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._read_or_not()

    def _read_or_not(self) -> None:
        if self._transport is None or self._closing:
            return
        if self._writing_paused or len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # Called by the parser.

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        lower = name.decode("latin-1").lower()
        self._headers[lower] = value.decode("latin-1")
        if lower == "expect" and value.lower() == b"100-continue" and self._transport and not self._deaf:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _count_head(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(
                431, f"The request's head is larger than {MAX_HEAD_BYTES} bytes: shorten its URL and headers."
            )

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body_bytes > MAX_BODY_BYTES:
            self._refuse(413, f"The request's body is larger than {MAX_BODY_BYTES} bytes: send less.")
        else:
            self._body.append(data)

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        url = httptools.parse_url(self._url)
        request = Request(
            self._parser.get_method().decode("ascii"),
            (url.path or b"/").decode("latin-1"),
            (url.query or b"").decode("latin-1"),
            self._headers,
            b"".join(self._body),
        )
        keep_alive = self._parser.should_keep_alive()
        self._start_message()
        if self._busy:
            self._waiting.append((request, keep_alive))
            if len(self._waiting) >= MAX_PIPELINED:
                self._read_or_not()
        else:
            self._begin(request, keep_alive)

    # The life of a request.

    def _begin(self, request: Request, keep_alive: bool) -> None:
        self._busy = True
        self._keep_alive = keep_alive
        self._head_only = request.method == "HEAD"
        self.last_active_s = asyncio.get_running_loop().time()
        self._handler.handle(self, request)

    def finish(self, reply: Reply, ending: Ending = Ending.REPLY) -> None:
        """Ends the current request: with its reply, or in the way of a fault."""
        self._busy = False
        transport = self._transport
        if transport is None:
            return
        match ending:
            case Ending.REPLY:
                keep_alive = self._keep_alive and not self._closing
                encoded = _encode(reply, self._handler.http_date(), keep_alive=keep_alive)
                transport.write(encoded[: -len(reply.body)] if self._head_only and reply.body else encoded)
                if not keep_alive:
                    self.close()
                elif self._waiting:
                    request, following_keep_alive = self._waiting.popleft()
                    self._read_or_not()
                    self._begin(request, following_keep_alive)
                elif self._refusal is not None:
                    self._say_last(transport, self._refusal)
            case Ending.TRUNCATE:
                encoded = _encode(reply, self._handler.http_date(), keep_alive=True)
                transport.write(encoded[: len(encoded) - (len(reply.body) + 1) // 2])
                self.close()
            case Ending.CLOSE:
                self.close()
            case Ending.RESET:
                self._reset(transport)

    def _refuse(self, status: int, message: str) -> None:
        """Answers what is no request, in its turn: the requests before it get their replies first."""
        if self._deaf or self._transport is None:
            return
        body = {"error": {"type": "invalid_request_error", "message": message}}
        self._refusal = _encode(json_reply(status, body), self._handler.http_date(), keep_alive=False)
        if not self._busy:
            self._say_last(self._transport, self._refusal)

    def _say_last(self, transport: asyncio.Transport, encoded: bytes) -> None:
        transport.write(encoded)
        # Closing at once, with input unread, would make the kernel reset the connection and take the answer with it:
        # say that this was all, and let the client finish first, for a while.
        self._closing = True
        transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self.close)

    def close(self) -> None:
        """Closes after what has been written has left."""
        self._closing = True
        self._waiting.clear()
        if self._transport is not None:
            self._transport.close()

    def _reset(self, transport: asyncio.Transport) -> None:
        self._closing = True
        raw = transport.get_extra_info("socket")
        # Zero linger makes the kernel send RST instead of FIN.
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()


def _encode(reply: Reply, date: str, *, keep_alive: bool) -> bytes:
    extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    connection = "keep-alive" if keep_alive else "close"
    head = (
        f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}\r\nDate: {date}\r\n"
        f"Content-Type: {reply.content_type}\r\nContent-Length: {len(reply.body)}\r\n"
        f"Connection: {connection}\r\n{extra}\r\n"
    )
    return head.encode("latin-1") + reply.body


async def close_idle(open_connections: set[Connection]) -> None:
    """Closes connections that have been silent for `IDLE_TIMEOUT_S`; runs until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(IDLE_TIMEOUT_S / 10)
        oldest_s = loop.time() - IDLE_TIMEOUT_S
        for connection in [one for one in open_connections if one.idle and one.last_active_s < oldest_s]:
            connection.close()
