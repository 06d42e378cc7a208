"""The pulse over HTTP: one long answer of a replica's operations endpoint."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from middleman.ports.pulse import Beat, NoPulse

# A connection that takes longer is one that cannot be told from silence.
_CONNECT_TIMEOUT_S = 0.5
PULSE_PATH = "/pulse"


class HttpBeat:
    """An answer that never ends while its sender lives."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def broken(self) -> str:
        """See `middleman.ports.pulse.Beat.broken`."""
        try:
            while await self._response.content.readany():
                pass  # nothing is said but the first line; whatever comes is a sign of life
        except (aiohttp.ClientError, OSError) as error:
            return type(error).__name__
        return "end of file"


class HttpPulse:
    """`Pulse` on ``GET /pulse``, which names the process that answers and then stays silent."""

    @asynccontextmanager
    async def feel(self, address: str, holder: str) -> AsyncIterator[Beat]:
        """See `middleman.ports.pulse.Pulse.feel`."""
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT_S, sock_read=None)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            response = await _connected(session, address, holder)
            try:
                yield HttpBeat(response)
            finally:
                response.close()


async def _connected(session: aiohttp.ClientSession, address: str, holder: str) -> aiohttp.ClientResponse:
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S):
            response = await session.get(f"http://{address}{PULSE_PATH}")
            line = await response.content.readline()
    except aiohttp.ClientConnectorError as error:
        refused = isinstance(error.os_error, ConnectionRefusedError)
        raise NoPulse(f"{address}: {error.os_error.strerror}", definite=refused) from error
    except aiohttp.InvalidURL as error:
        raise NoPulse(f"{address} is no address: {error}", definite=False, lasting=True) from error
    except (aiohttp.ClientError, OSError) as error:  # a timeout is an OSError, too
        raise NoPulse(f"{address}: {type(error).__name__}", definite=False) from error
    answering = _holder(line)
    if answering != holder:
        response.close()
        raise NoPulse(f"{address}: answered by {answering or 'a stranger'}", definite=bool(answering))
    return response


def _holder(line: bytes) -> str:
    try:
        return str(json.loads(line)["holder"])
    except (ValueError, KeyError, TypeError):
        return ""
