"""Reads a log of JSON lines as it grows."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_LINES = 50_000


@dataclass(slots=True)
class LogReader:
    """The newest `MAX_LINES` structured lines of one file; stack traces and what else is not JSON do not count."""

    path: Path
    _found: list[dict[str, Any]] = field(default_factory=list)
    _read_to: int = 0

    def lines(self) -> list[dict[str, Any]]:
        """Everything so far, oldest first; a line that is not complete yet waits for the next time."""
        if self.path.exists():
            with self.path.open("rb") as log:
                log.seek(self._read_to)
                new = log.read()
            complete = new[: new.rfind(b"\n") + 1]
            self._read_to += len(complete)
            self._found += structured(complete)
            del self._found[:-MAX_LINES]
        return list(self._found)


def structured(log: bytes) -> list[dict[str, Any]]:
    """The lines of a log that are JSON objects with an event and its instant."""
    found: list[dict[str, Any]] = []
    for line in log.splitlines():
        if not line.startswith(b"{"):
            continue
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if "event" in values and "timestamp" in values:
            found.append(values)
    return found
