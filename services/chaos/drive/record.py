"""What was done to the system and what was seen, each with its instant; the report is written from this."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


def now() -> datetime:
    """The wall clock, which all processes of one machine share with its database."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Fault:
    """One fault: what, to whom, from when until when it was undone. `settings` is what is needed to repeat it."""

    number: int
    scenario: str
    kind: str
    whom: str
    began_at: datetime
    settings: Mapping[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values, instants as ISO 8601."""
        return {
            "number": self.number,
            "scenario": self.scenario,
            "kind": self.kind,
            "whom": self.whom,
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat() if self.ended_at is not None else None,
            "settings": dict(self.settings),
        }


@dataclass(frozen=True, slots=True)
class Observation:
    """What was expected to be seen besides the verdict, whether it was, and what was seen. `faults` are numbers."""

    scenario: str
    expected: str
    made: bool
    seen: str
    at: datetime
    faults: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, instants as ISO 8601."""
        return {
            "scenario": self.scenario,
            "expected": self.expected,
            "made": self.made,
            "seen": self.seen,
            "at": self.at.isoformat(),
            "faults": list(self.faults),
        }


@dataclass(slots=True)
class Record:
    """Everything of one run, in the order in which it happened."""

    faults: list[Fault] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)

    def begin(self, scenario: str, kind: str, whom: str, settings: Mapping[str, Any]) -> Fault:
        """A fault begins now."""
        fault = Fault(len(self.faults) + 1, scenario, kind, whom, now(), dict(settings))
        self.faults.append(fault)
        return fault

    def of(self, scenario: str) -> tuple[list[Fault], list[Observation]]:
        """Faults and observations of one scenario."""
        return (
            [fault for fault in self.faults if fault.scenario == scenario],
            [each for each in self.observations if each.scenario == scenario],
        )
