"""What the judge says: one result per invariant, and the verdict over all of them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any

SHOWN_PER_INVARIANT = 20
NOT_CHECKED = "not checked"
"""How the note of an invariant begins that could not be checked here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong (or not yet right): whose it is, and what is wrong with it."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class InvariantResult:
    """`violations` and `pending` list the first 20; the totals count all.

    Pending is what a running system may show for a moment: work in flight, neither right nor wrong yet.
    """

    name: str
    title: str
    holds: bool
    checked: int
    violations: tuple[Finding, ...] = ()
    total_violations: int = 0
    pending: tuple[Finding, ...] = ()
    total_pending: int = 0
    note: str = ""

    @property
    def unchecked(self) -> bool:
        """Whether nobody looked: it holds only for want of evidence, and `note` says why."""
        return self.holds and self.checked == 0 and self.note.startswith(NOT_CHECKED)

    def strictly(self) -> "InvariantResult":
        """The same at rest, where nothing may be pending any more: what is pending is a violation."""
        if not self.total_pending:
            return self
        return replace(
            self,
            holds=False,
            violations=(self.violations + self.pending)[:SHOWN_PER_INVARIANT],
            total_violations=self.total_violations + self.total_pending,
            pending=(),
            total_pending=0,
        )


@dataclass(slots=True)
class Findings:
    """Collects what one invariant finds, keeping the first of each kind and counting all."""

    name: str
    title: str
    checked: int = 0
    note: str = ""
    violations: list[Finding] = field(default_factory=list)
    total_violations: int = 0
    pending: list[Finding] = field(default_factory=list)
    total_pending: int = 0

    def violation(self, subject: str, detail: str) -> None:
        """Something that may never be, not even for a moment."""
        self.total_violations += 1
        if len(self.violations) < SHOWN_PER_INVARIANT:
            self.violations.append(Finding(subject, detail))

    def in_flight(self, subject: str, detail: str) -> None:
        """Something that is right only while work is in flight."""
        self.total_pending += 1
        if len(self.pending) < SHOWN_PER_INVARIANT:
            self.pending.append(Finding(subject, detail))

    def result(self) -> InvariantResult:
        """Freeze what was found."""
        return InvariantResult(
            name=self.name,
            title=self.title,
            holds=self.total_violations == 0,
            checked=self.checked,
            violations=tuple(self.violations),
            total_violations=self.total_violations,
            pending=tuple(self.pending),
            total_pending=self.total_pending,
            note=self.note,
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judge's answer. `at_rest`: nothing was due, open or in flight when it looked."""

    holds: bool
    at_rest: bool
    judged_at: datetime
    business_now: datetime
    counts: Mapping[str, Any]
    invariants: tuple[InvariantResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values, instants as ISO 8601."""
        values = asdict(self)
        values["judged_at"] = self.judged_at.isoformat()
        values["business_now"] = self.business_now.isoformat()
        values["invariants"] = [asdict(result) for result in self.invariants]
        return values


def broken(verdict: Verdict) -> dict[str, InvariantResult]:
    """The invariants that do not hold, by name, in their order."""
    return {result.name: result for result in verdict.invariants if not result.holds}
