"""When nobody charged, and whether anybody should have."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import pairwise

from chaos.reporting.run_report import RunReport
from chaos.reporting.spans import Takeover, Timeline

NOTABLE_S = 0.5
"""A pause within one term is shown from this length on: shorter ones occur between two batches."""


class Kind(StrEnum):
    """Why nobody charged."""

    TAKEOVER = "takeover"
    """One term had charged last, another charged next."""
    PAUSE = "pause"
    """The same term charged before and after."""
    REST = "rest"
    """The clock stood still: nothing was due, and the judge looked."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time without a charge. For a take-over its ends are exact, otherwise they are ends of buckets."""

    from_at: datetime
    to_at: datetime
    kind: Kind
    told: str

    @property
    def length_s(self) -> float:
        return (self.to_at - self.from_at).total_seconds()


def stretches(report: RunReport) -> tuple[Stretch, ...]:
    """Every take-over and every notable pause, in their order.

    What precedes the first charge of the run is none: nothing was subscribed yet.
    """
    judged = judged_at(report)
    exact = _takeovers(report.timeline, judged)
    pauses = [
        pause
        for pause in _pauses(report.timeline, judged)
        if not any(each.from_at < pause.to_at and pause.from_at < each.to_at for each in exact)
    ]
    return tuple(sorted([*exact, *pauses], key=lambda each: each.from_at))


def judged_at(report: RunReport) -> tuple[datetime, ...]:
    """When the judge looked, with the clock stopped."""
    verdicts = [scenario.verdict for scenario in report.scenarios if scenario.verdict is not None]
    return tuple(verdict.judged_at for verdict in (*verdicts, report.final))


def timed(report: RunReport) -> tuple[Takeover, ...]:
    """The take-overs whose times mean something: not those during which the clock stood still for the judge."""
    judged = judged_at(report)
    return tuple(
        takeover
        for takeover in report.timeline.takeovers
        if not any(_during(takeover, each) for each in judged)
    )


def _during(takeover: Takeover, at: datetime) -> bool:
    length_s = takeover.first_charge_s if takeover.first_charge_s is not None else takeover.in_office_s
    return takeover.since < at < takeover.since + timedelta(seconds=length_s)


def _takeovers(timeline: Timeline, judged: Sequence[datetime]) -> list[Stretch]:
    found = []
    for before, after in pairwise(term for term in timeline.terms if term.last_charge_at is not None):
        last, first = before.last_charge_at, after.first_charge_at
        if last is not None and first is not None and first > last:
            told = f"term {before.number} ({before.holder}) to term {after.number} ({after.holder})"
            found.append(_stretch(last, first, Kind.TAKEOVER, told, judged))
    return found


def _pauses(timeline: Timeline, judged: Sequence[datetime]) -> Iterable[Stretch]:
    bucket = timedelta(seconds=timeline.bucket_s)
    starts = sorted({each.starts_at for each in timeline.charges if each.settled})
    starts.append(timeline.ended_at)
    for last, following in pairwise(starts):
        if (following - last - bucket).total_seconds() >= NOTABLE_S:
            yield _stretch(last + bucket, following, Kind.PAUSE, "within one term", judged)


def _stretch(
    from_at: datetime, to_at: datetime, kind: Kind, told: str, judged: Sequence[datetime]
) -> Stretch:
    if any(from_at <= at <= to_at for at in judged):
        return Stretch(from_at, to_at, Kind.REST, "the clock stood still, the judge looked")
    return Stretch(from_at, to_at, kind, told)
