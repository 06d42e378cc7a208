"""Take-over times in bins whose width grows with them, and what they come to for each kind of fault."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaos.drive.record import Fault
from chaos.failover.spread import Spread
from chaos.reporting.figures import seconds
from chaos.reporting.spans import Takeover

EDGES_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
NO_FAULT = "no fault on the leader"


@dataclass(frozen=True, slots=True)
class Bin:
    """How many take-overs came below `below_s` and not below the bin before; None: the rest."""

    below_s: float | None
    count: int

    @property
    def told(self) -> str:
        if self.below_s is None:
            return f"{seconds(EDGES_S[-1])} or more"
        return f"below {self.below_s:g} s" if self.below_s >= 1 else f"below {seconds(self.below_s)}"


def bins(values_s: Iterable[float]) -> tuple[Bin, ...]:
    """Always all of them, so that reports can be laid side by side."""
    values = list(values_s)
    found, below = [], 0
    for edge in EDGES_S:
        reached = sum(value < edge for value in values)
        found.append(Bin(edge, reached - below))
        below = reached
    return (*found, Bin(None, len(values) - below))


@dataclass(frozen=True, slots=True)
class Kind:
    """Take-overs after one kind of fault. `spread` is None when no successor charged."""

    name: str
    takeovers: int
    spread: Spread | None


def by_kind(takeovers: Sequence[Takeover], faults: Mapping[int, Fault]) -> tuple[Kind, ...]:
    """The commonest first; those without a fault on the leader last."""
    found: defaultdict[str, list[Takeover]] = defaultdict(list)
    for takeover in takeovers:
        fault = faults.get(takeover.fault) if takeover.fault is not None else None
        found[fault.kind if fault is not None else NO_FAULT].append(takeover)
    ordered = sorted(found.items(), key=lambda each: (each[0] == NO_FAULT, -len(each[1]), each[0]))
    return tuple(Kind(name, len(mine), spread(mine)) for name, mine in ordered)


def spread(takeovers: Iterable[Takeover]) -> Spread | None:
    """Of the times to the successor's first charge; None when none charged."""
    values = charged(takeovers)
    return Spread.of(values) if values else None


def charged(takeovers: Iterable[Takeover]) -> list[float]:
    """How long each took to the successor's first charge, where there was one."""
    return [each.first_charge_s for each in takeovers if each.first_charge_s is not None]
