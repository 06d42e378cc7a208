"""What the database has on record of a run: who led when, what was charged when, how each take-over went."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Bucket:
    """What one term settled in `[starts_at, starts_at + bucket_s)`. There is none where nothing was settled."""

    starts_at: datetime
    term: int
    succeeded: int
    others: int
    """Attempts that ended otherwise: declined, requires action, canceled."""

    @property
    def settled(self) -> int:
        return self.succeeded + self.others


@dataclass(frozen=True, slots=True)
class TermSpan:
    """One term; `holder` is the process's name without its life. First and last charge lie within the time line."""

    number: int
    holder: str
    started_at: datetime
    first_charge_at: datetime | None
    last_charge_at: datetime | None
    ended_at: datetime | None
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values, instants as ISO 8601."""
        return {
            "number": self.number,
            "holder": self.holder,
            "started_at": self.started_at.isoformat(),
            "first_charge_at": _iso(self.first_charge_at),
            "last_charge_at": _iso(self.last_charge_at),
            "ended_at": _iso(self.ended_at),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Takeover:
    """From one term to the next. Seconds count from `since`; `first_charge_s` is None when the successor made none.

    `since` is the beginning of the fault on the victim (then `fault` has its number), else its last charge.
    """

    victim: str
    victim_term: int
    fault: int | None
    since: datetime
    successor: str
    term: int
    in_office_s: float
    first_charge_s: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, instants as ISO 8601, seconds to the microsecond."""
        return {
            "victim": self.victim,
            "victim_term": self.victim_term,
            "fault": self.fault,
            "since": self.since.isoformat(),
            "successor": self.successor,
            "term": self.term,
            "in_office_s": round(self.in_office_s, 6),
            "first_charge_s": round(self.first_charge_s, 6) if self.first_charge_s is not None else None,
        }


@dataclass(frozen=True, slots=True)
class Timeline:
    """`charges` are ordered by instant and term, `terms` and `takeovers` by term."""

    began_at: datetime
    ended_at: datetime
    bucket_s: float
    charges: tuple[Bucket, ...]
    terms: tuple[TermSpan, ...]
    takeovers: tuple[Takeover, ...]

    @property
    def duration_s(self) -> float:
        return (self.ended_at - self.began_at).total_seconds()

    def to_json(self) -> dict[str, Any]:
        """`charges` are arrays `[seconds since began_at, term, succeeded, others]`, to keep long runs small."""
        return {
            "began_at": self.began_at.isoformat(),
            "ended_at": self.ended_at.isoformat(),
            "bucket_s": self.bucket_s,
            "charges": [
                [
                    round((each.starts_at - self.began_at).total_seconds(), 6),
                    each.term,
                    each.succeeded,
                    each.others,
                ]
                for each in self.charges
            ],
            "terms": [term.to_json() for term in self.terms],
            "takeovers": [takeover.to_json() for takeover in self.takeovers],
        }


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at is not None else None
