"""Faults of the links between a replica and what it talks to: cut, one-sided, refused, late, thin, or flapping.

Each is a context manager that declares the fault and undoes it on the way out, whatever happens in between. A link
can be probed: whoever connects to it from outside is treated as the replica is.
"""

import asyncio
import itertools
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from chaos.drive.local import links_to
from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Side
from cluster.links import BLACK_HOLE, DEAF, MUTE, REFUSE, RESET, Link, LinkMode, delayed, throttled

MODES: dict[str, LinkMode] = {
    "black-hole": BLACK_HOLE,
    "mute": MUTE,
    "deaf": DEAF,
    "refuse": REFUSE,
    "reset": RESET,
}
"""What stops everything, by name. Mute: what the replica says is held; deaf: what it is answered."""
# A client of PostgreSQL may ask for TLS before anything else, and gets one byte
# (https://www.postgresql.org/docs/current/protocol-message-formats.html#PROTOCOL-MESSAGE-FORMATS-SSLREQUEST).
_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Heard:
    """What came back to one question, and how long it took; `is_whole`: it came to its own end."""

    took_s: float
    size_bytes: int
    is_whole: bool


@asynccontextmanager
async def cut(stage: Stage, replica: str, *sides: Side) -> AsyncIterator[Fault]:
    """Nothing passes between the replica and these sides, in either direction, and nobody is told."""
    async with stage.fault("cut", replica, sides=[str(side) for side in sides]) as fault:
        try:
            await stage.target.cut(replica, *sides)
            yield fault
        finally:
            await stage.target.mend(replica, *sides)


@asynccontextmanager
async def broken(stage: Stage, replica: str, mode: str, *sides: Side) -> AsyncIterator[Fault]:
    """The links between the replica and these sides are in that mode. `Need.LINKS`."""
    async with _in_mode(stage, replica, mode, MODES[mode], sides, {}) as fault:
        yield fault


@asynccontextmanager
async def late(
    stage: Stage, replica: str, *sides: Side, requests_s: float, answers_s: float
) -> AsyncIterator[Fault]:
    """Everything passes, so much later. `Need.LINKS`."""
    mode = delayed(requests_s, answers_s)
    settings = {"requests_s": requests_s, "answers_s": answers_s}
    async with _in_mode(stage, replica, "delay", mode, sides, settings) as fault:
        yield fault


@asynccontextmanager
async def thin(stage: Stage, replica: str, *sides: Side, bytes_per_s: float) -> AsyncIterator[Fault]:
    """Everything passes, no faster than that in each direction. `Need.LINKS`."""
    mode = throttled(bytes_per_s, bytes_per_s)
    async with _in_mode(stage, replica, "throttle", mode, sides, {"bytes_per_s": bytes_per_s}) as fault:
        yield fault


@asynccontextmanager
async def flapping(
    stage: Stage, replica: str, *sides: Side, bursts: Sequence[tuple[float, float]]
) -> AsyncIterator[Fault]:
    """The links are cut for the first and whole for the second of each pair of seconds, over and over again."""
    settings = {"sides": [str(side) for side in sides], "bursts": [list(burst) for burst in bursts]}
    async with stage.fault("flap", replica, **settings) as fault:
        flaps = asyncio.create_task(_flap(stage, replica, sides, bursts))
        try:
            yield fault
        finally:
            flaps.cancel()
            await asyncio.wait({flaps})
            await stage.target.mend(replica, *sides)


def links_of(stage: Stage, replica: str, sides: Sequence[Side]) -> list[tuple[Side, Link]]:
    """The links between a replica and these sides, each with its side. `Need.LINKS`."""
    links = stage.target.cluster.links(replica)
    return [(side, link) for side in sides for link in links_to(links, side)]


async def answered_after_s(side: Side, link: Link, within_s: float) -> float | None:
    """How long a question through the link takes to be answered; None when it is not, within that time."""
    told = await heard(side, link, within_s, "/livez")
    return told.took_s if told.is_whole else None


async def heard(side: Side, link: Link, within_s: float, path: str) -> Heard:
    """What comes back, within that time, when a question is asked through the link.

    Members that speak HTTP are asked for `path`; whatever they say to it is an answer.
    """
    host, _, port = link.endpoint.rpartition(":")
    asked_s = time.monotonic()
    size_bytes, is_over = 0, False
    writer = None
    try:
        async with asyncio.timeout(within_s):
            reader, writer = await asyncio.open_connection(host, int(port))
            if side is Side.POSTGRES:
                writer.write(_SSL_REQUEST)
                size_bytes, is_over = len(await reader.read(1)), True
            else:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode())
                while piece := await reader.read(_READ_BYTES):
                    size_bytes += len(piece)
                is_over = True
    except (OSError, TimeoutError):
        is_over = False
    finally:
        if writer is not None:
            writer.close()
    return Heard(time.monotonic() - asked_s, size_bytes, is_whole=is_over and size_bytes > 0)


@asynccontextmanager
async def _in_mode(
    stage: Stage,
    replica: str,
    kind: str,
    mode: LinkMode,
    sides: Sequence[Side],
    settings: dict[str, float],
) -> AsyncIterator[Fault]:
    links = [link for _, link in links_of(stage, replica, sides)]
    async with stage.fault(kind, replica, sides=[str(side) for side in sides], **settings) as fault:
        try:
            for link in links:
                link.set_mode(mode)
            yield fault
        finally:
            for link in links:
                link.heal()


async def _flap(
    stage: Stage, replica: str, sides: Sequence[Side], bursts: Sequence[tuple[float, float]]
) -> None:
    for cut_s, whole_s in itertools.cycle(bursts):
        await stage.target.cut(replica, *sides)
        await asyncio.sleep(cut_s)
        await stage.target.mend(replica, *sides)
        await asyncio.sleep(whole_s)
