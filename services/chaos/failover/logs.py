"""What the replicas log, read as it grows."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

TOLD = frozenset(
    {
        *("pulse.felt", "pulse.broken", "leader.revoked", "election.won"),
        *("term.started", "term.ended", "recovery.finished", "takeover.measured"),
    }
)
MAX_LINES = 10_000


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event of one replica."""

    replica: str
    at: datetime
    event: str
    values: Mapping[str, Any]


@dataclass(slots=True)
class Logs:
    """The newest `MAX_LINES` lines that matter here, oldest first as far as each replica goes."""

    files: Mapping[str, Path]
    lines: list[LogLine] = field(default_factory=list)
    _read_to: dict[str, int] = field(default_factory=dict)

    def read(self) -> None:
        """Take in what was written since the last time; a line that is not complete yet waits for the next."""
        for replica, file in self.files.items():
            with file.open("rb") as log:
                log.seek(self._read_to.get(replica, 0))
                new = log.read()
            complete = new[: new.rfind(b"\n") + 1]
            self._read_to[replica] = self._read_to.get(replica, 0) + len(complete)
            self.lines += parsed(replica, complete.splitlines())
        del self.lines[:-MAX_LINES]

    def since(self, at: datetime, *events: str, replica: str | None = None) -> list[LogLine]:
        """The lines with one of these events from then on, earliest first."""
        found = [
            line
            for line in self.lines
            if line.event in events and line.at >= at and replica in (None, line.replica)
        ]
        return sorted(found, key=lambda line: line.at)


def parsed(replica: str, lines: Iterable[bytes]) -> list[LogLine]:
    """The events among lines of a log; stack traces and what else is not JSON do not count."""
    found = []
    for line in lines:
        if not line.startswith(b"{"):
            continue
        try:
            values: dict[str, Any] = json.loads(line)
            event, at = values["event"], datetime.fromisoformat(values["timestamp"])
        except (ValueError, KeyError):
            continue
        if event in TOLD:
            found.append(LogLine(replica, at, event, values))
    return found
