"""TCP relays that a test can block or deafen: a network between one client and one server."""

import asyncio
from contextlib import suppress

from tests.support.fake_coordinator import LinkMode

_CHUNK_BYTES = 65_536


class Relay:
    """Forwards every connection to ``target``. Held bytes are delivered late, not lost."""

    def __init__(self, target: str) -> None:
        self._host, _, port = target.rpartition(":")
        self._port = int(port)
        self._requests_pass = asyncio.Event()
        self._answers_pass = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._pumps: set[asyncio.Task[None]] = set()
        self.set_mode(LinkMode.OPEN)

    async def start(self) -> str:
        """Listen on a free port; the endpoint as ``host:port``."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()
        return f"{host}:{port}"

    def set_mode(self, mode: LinkMode) -> None:
        """What passes from now on."""
        for event, passes in (
            (self._requests_pass, mode is not LinkMode.BLOCKED),
            (self._answers_pass, mode is LinkMode.OPEN),
        ):
            if passes:
                event.set()
            else:
                event.clear()

    async def close(self) -> None:
        """Close every connection."""
        if self._server is not None:
            self._server.close()
        for pump in self._pumps:
            pump.cancel()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.close()
            return
        for source, sink, passes in (
            (reader, upstream_writer, self._requests_pass),
            (upstream_reader, writer, self._answers_pass),
        ):
            pump = asyncio.create_task(_pump(source, sink, passes))
            self._pumps.add(pump)
            pump.add_done_callback(self._pumps.discard)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, passes: asyncio.Event) -> None:
    try:
        with suppress(ConnectionError):
            while chunk := await source.read(_CHUNK_BYTES):
                await passes.wait()
                sink.write(chunk)
                await sink.drain()
    finally:
        sink.close()
