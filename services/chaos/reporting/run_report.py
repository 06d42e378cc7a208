"""The values of a report, and what `report.json` looks like.

    {
      "schema": 1,
      "holds": bool,              the final verdict holds, some scenario passed and none failed, nothing was cut short,
                              the workload found nothing wrong
      "interrupted": bool,        not every scenario was played to its end
      "command": str,             repeats the run
      "seed": int, "target": "local" | "compose", "commit": str,
      "began_at": ISO 8601, "ended_at": ISO 8601,
      "machine": {str: any},      cores, versions
      "scenarios": [{"name", "group", "shows", "began_at", "ended_at", "state": "passed" | "failed" | "skipped",
                     "reason": str, "rested_s": seconds until it was at rest,
                     "faults": [{"number", "scenario", "kind", "whom", "began_at", "ended_at" | null, "settings"}],
                     "observations": [{"scenario", "expected", "made": bool, "seen", "at", "faults": [number]}],
                     "verdict": VERDICT | null}],
      "schedule": [any],          the strikes that the random mix drew, empty otherwise
      "final": VERDICT,           of the whole run, at its end
      "workload": {str: int}, "findings": [str],
      "timeline": {"began_at", "ended_at", "bucket_s",
                   "charges": [[seconds since began_at, term, succeeded, others]],  no entry where nothing was settled
                   "terms": [{"number", "holder", "started_at", "first_charge_at" | null, "last_charge_at" | null,
                              "ended_at" | null, "reason"}],
                   "takeovers": [{"victim", "victim_term", "fault": number | null, "since", "successor", "term",
                                  "in_office_s": since "since", "first_charge_s" | null}]}
    }
    VERDICT = {"holds", "at_rest", "judged_at", "business_now", "counts": {str: any},
               "invariants": [{"name", "title", "holds", "checked", "violations": [{"subject", "detail"}],
                               "total_violations", "pending": [...], "total_pending", "note"}]}

`chaos.reporting.from_json` reads it back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from chaos.drive.record import Fault, Observation
from chaos.judge.verdict import Verdict
from chaos.reporting.spans import Timeline

SCHEMA = 1

State = Literal["passed", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """One scenario, played or skipped. `reason` says why it failed or was skipped, and is empty otherwise.

    `verdict` is the judge's after it; `rested_s` is how long the system took to come to rest before.
    """

    name: str
    group: str
    shows: str
    began_at: datetime
    ended_at: datetime
    state: State
    reason: str
    faults: tuple[Fault, ...]
    observations: tuple[Observation, ...]
    verdict: Verdict | None
    rested_s: float

    @property
    def duration_s(self) -> float:
        return (self.ended_at - self.began_at).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """Plain values, instants as ISO 8601."""
        return {
            "name": self.name,
            "group": self.group,
            "shows": self.shows,
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "state": self.state,
            "reason": self.reason,
            "rested_s": round(self.rested_s, 6),
            "faults": [fault.to_json() for fault in self.faults],
            "observations": [observation.to_json() for observation in self.observations],
            "verdict": self.verdict.to_json() if self.verdict is not None else None,
        }


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything of one run. `command` repeats it; `commit` is git's name for the code, or empty.

    `schedule` has the strikes that the random mix drew, as plain values; `findings` is what the workload
    found wrong, in words.
    """

    command: str
    seed: int
    target: str
    commit: str
    began_at: datetime
    ended_at: datetime
    machine: Mapping[str, Any]
    scenarios: tuple[ScenarioResult, ...]
    schedule: Sequence[Any]
    final: Verdict
    timeline: Timeline
    workload: Mapping[str, int]
    findings: tuple[str, ...]
    interrupted: bool

    @property
    def holds(self) -> bool:
        """Whether all that was asked for was played and is right: what was not looked at does not count as good.

        A scenario that is skipped with its reason is right where it was not asked for by name.
        """
        played = bool(self.count("passed")) and not self.count("failed") and not self.interrupted
        return played and self.final.holds and not self.findings

    @property
    def duration_s(self) -> float:
        return (self.ended_at - self.began_at).total_seconds()

    def count(self, state: State) -> int:
        """How many scenarios ended so."""
        return sum(scenario.state == state for scenario in self.scenarios)

    def to_json(self) -> dict[str, Any]:
        """The document that this module describes."""
        return {
            "schema": SCHEMA,
            "holds": self.holds,
            "interrupted": self.interrupted,
            "command": self.command,
            "seed": self.seed,
            "target": self.target,
            "commit": self.commit,
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "machine": dict(self.machine),
            "scenarios": [scenario.to_json() for scenario in self.scenarios],
            "schedule": list(self.schedule),
            "final": self.final.to_json(),
            "timeline": self.timeline.to_json(),
            "workload": dict(self.workload),
            "findings": list(self.findings),
        }
