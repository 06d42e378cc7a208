"""Reads a container's log as it grows."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chaos.drive.compose_engine import Engine
from chaos.drive.log_reader import MAX_LINES, structured

TAIL = 500
"""Asked for first: the engine reads a log from its end in no time, and from its beginning for as long as it is."""
_HEADER = struct.Struct(">BxxxI")


@dataclass(slots=True)
class ContainerLog:
    """The newest `MAX_LINES` structured lines of one container, over all its lives."""

    engine: Engine
    container: str
    _found: list[dict[str, Any]] = field(default_factory=list)
    _read_to: str = ""

    def lines(self) -> list[dict[str, Any]]:
        """Everything so far, oldest first. Raises `TargetError`."""
        new = self._new(str(TAIL)) if self._read_to else self._new("all")
        if len(new) >= TAIL and self._read_to:
            new = self._new("all")  # there may be more behind the tail
        if new:
            self._read_to = new[-1][0]
            self._found += structured(b"\n".join(text for _, text in new))
            del self._found[:-MAX_LINES]
        return list(self._found)

    def _new(self, tail: str) -> list[tuple[str, bytes]]:
        since = _since(self._read_to) if self._read_to else "0"
        framed = self.engine.log(self.container, since=since, tail=tail)
        return [(at, text) for at, text in stamped(framed) if at > self._read_to]


def stamped(framed: bytes) -> list[tuple[str, bytes]]:
    """Each line with its instant, in their order; the engine writes instants all of one width, so that they compare."""
    lines = [line.partition(b" ") for line in b"".join(_contents(framed)).splitlines()]
    return sorted((at.decode(), text) for at, _, text in lines)


def _contents(framed: bytes) -> Iterator[bytes]:
    """What is inside the frames: a byte for the stream, the length, the content."""
    position = 0
    while position + _HEADER.size <= len(framed):
        _, length = _HEADER.unpack_from(framed, position)
        position += _HEADER.size
        yield framed[position : position + length]
        position += length


def _since(instant: str) -> str:
    """Seconds since 1970, to the nanosecond."""
    whole, _, nanoseconds = instant.rstrip("Z").partition(".")
    return f"{int(datetime.fromisoformat(f'{whole}+00:00').timestamp())}.{nanoseconds or '0'}"
