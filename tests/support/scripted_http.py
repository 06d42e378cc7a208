"""An HTTP server that says exactly what a test wants, down to the bytes, and remembers what it was asked."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl


@dataclass(frozen=True, slots=True)
class Request:
    """`target` is the path with its query, as sent; header names are in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def encoded(self) -> str:
        """The parameters as sent: the query of a GET, the form of a POST."""
        return self.body if self.method == "POST" else self.target.partition("?")[2]

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.encoded, keep_blank_values=True))


Script = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


def reply(status: int, body: object, headers: Mapping[str, str] | None = None) -> Script:
    """A proper answer: JSON for an object, the text itself for a string."""
    text = body if isinstance(body, str) else json.dumps(body)
    return raw(response(status, text, headers))


def response(status: int, text: str, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes of an answer."""
    data = text.encode()
    lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(data)}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + data


def raw(data: bytes, *, then_close: bool = False) -> Script:
    """These bytes."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if then_close:
            writer.close()

    return script


def hang_up() -> Script:
    """The connection ends without an answer."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        writer.close()

    return script


def reset() -> Script:
    """The connection is reset (RST) without an answer."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        connection: socket.socket = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    return script


def silence(until: asyncio.Event) -> Script:
    """No answer until the event, and then the end of the connection."""

    async def script(_: Request, writer: asyncio.StreamWriter) -> None:
        await until.wait()
        writer.close()

    return script


@dataclass(slots=True)
class ScriptedServer:
    """`script` answers every request; assign another at any time."""

    url: str = ""
    script: Script = field(default_factory=lambda: reply(200, {}))
    requests: list[Request] = field(default_factory=list)
    connections: int = 0

    def says(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.script = reply(status, body, headers)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, target, _ = head[0].split(" ")
                pairs = (line.partition(": ") for line in head[1:] if line)
                headers = {name.lower(): value for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(method, target, headers, body.decode())
                self.requests.append(request)
                await self.script(request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the client went away, as some tests make it do
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    """A server on a free port of 127.0.0.1."""
    scripted = ScriptedServer()
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield scripted
    finally:
        server.close()
