"""The stages of a take-over, as seconds since the fault."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chaos.failover.logs import Logs
from chaos.failover.plan import Path

if TYPE_CHECKING:
    import asyncpg

STAGES: Mapping[str, str] = {
    "stood_down_s": "old leader's term ended",
    "noticed_s": "its death noticed",
    "revoked_s": "its lease revoked",
    "elected_s": "successor elected",
    "in_office_s": "successor in office",
    "recovered_s": "recovery finished",
    "claimed_s": "first period claimed",
    "charged_s": "first charge settled",
}
"""In the usual order; some do not occur in every kind, and recovery may settle before anything is claimed."""
TOTAL = "charged_s"

_FIRST_SETTLED = """
    SELECT e.term, e.at, t.holder FROM events e JOIN terms t ON t.scope = 0 AND t.number = e.term
    WHERE e.seq > $1 AND e.term > $2 AND e.kind = 'attempt.settled' ORDER BY e.at LIMIT 1
"""
_FIRST_OPENED = """
    SELECT min(at) FROM events WHERE seq > $1 AND term = $2 AND kind IN ('invoice.opened', 'attempt.opened')
"""


@dataclass(frozen=True, slots=True)
class Struck:
    """The fault of one run: who was struck in which term, when, and the newest event before."""

    victim: str
    term: int
    at: datetime
    after_seq: int


@dataclass(frozen=True, slots=True)
class FirstCharge:
    """The first attempt that anybody settled after the victim's term."""

    term: int
    holder: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Takeover:
    """One run. `needless_terms` began and ended between the victim's term and the first charge.

    `measured` is the successor's own account, on its own clock, since it noticed that the leader was lost; it has the
    stages that the successor sees, by the same names.
    """

    number: int
    path: Path
    victim: str
    victim_term: int
    successor: str
    successor_term: int
    struck_at: datetime
    stages: Mapping[str, float]
    measured: Mapping[str, float]

    @property
    def total_s(self) -> float:
        """From the fault to the first charge settled by the successor."""
        return self.stages[TOTAL]

    @property
    def needless_terms(self) -> int:
        return self.successor_term - self.victim_term - 1

    def to_json(self) -> dict[str, Any]:
        """Plain values; seconds to the microsecond."""
        stages = {name: round(value, 6) for name, value in self.stages.items()}
        return asdict(self) | {
            "struck_at": self.struck_at.isoformat(),
            "stages": stages,
            "measured": {name: round(value, 6) for name, value in self.measured.items()},
            "needless_terms": self.needless_terms,
        }


async def first_charge(connection: "asyncpg.Connection[Any]", struck: Struck) -> FirstCharge | None:
    """The successor's first charge, once there is one."""
    row = await connection.fetchrow(_FIRST_SETTLED, struck.after_seq, struck.term)
    return FirstCharge(row["term"], row["holder"], row["at"]) if row is not None else None


async def stages(
    connection: "asyncpg.Connection[Any]", logs: Logs, struck: Struck, charge: FirstCharge
) -> dict[str, float]:
    """Every stage that left a trace, in the order of `STAGES`."""
    successor = charge.holder.partition("#")[0]
    logs.read()

    def first(*events: str, replica: str | None = None, **wanted: Any) -> datetime | None:
        lines = logs.since(struck.at, *events, replica=replica)
        return next(
            (line.at for line in lines if all(line.values.get(k) == v for k, v in wanted.items())), None
        )

    moments = {
        "stood_down_s": first("term.ended", replica=struck.victim, token=struck.term),
        "noticed_s": _before(charge.at, first("pulse.broken", definite=True)),
        "revoked_s": _before(charge.at, first("leader.revoked")),
        "elected_s": _last_before(logs, struck, charge, successor),
        "in_office_s": first("term.started", replica=successor, token=charge.term),
        "recovered_s": first("recovery.finished", replica=successor, token=charge.term),
        "claimed_s": await connection.fetchval(_FIRST_OPENED, struck.after_seq, charge.term),
        "charged_s": charge.at,
    }
    return {name: (at - struck.at).total_seconds() for name, at in moments.items() if at is not None}


def measured(logs: Logs, struck: Struck, charge: FirstCharge) -> dict[str, float]:
    """What the successor told of its own take-over, in seconds; empty where it told nothing."""
    logs.read()
    told = logs.since(struck.at, "takeover.measured", replica=charge.holder.partition("#")[0])
    values = next((line.values for line in told if line.values.get("token") == charge.term), {})
    known = {name: values.get(f"{name.removesuffix('_s')}_ms") for name in STAGES}
    return {name: ms / 1000 for name, ms in known.items() if ms is not None}


def _before(end: datetime, at: datetime | None) -> datetime | None:
    """A stage of this take-over, or None: who stopped in good order has its pulse missed afterwards."""
    return at if at is not None and at <= end else None


def _last_before(logs: Logs, struck: Struck, charge: FirstCharge, successor: str) -> datetime | None:
    """The election that led to the term: an earlier one of the same replica may have led to nothing."""
    started = logs.since(struck.at, "term.started", replica=successor)
    office_at = next((line.at for line in started if line.values.get("token") == charge.term), charge.at)
    won = [line.at for line in logs.since(struck.at, "election.won", replica=successor)]
    return max((at for at in won if at <= office_at), default=None)
