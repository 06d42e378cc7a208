"""Take-over times in bins whose width grows with them, and what they come to for each kind of fault."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chaos.drive.record import Fault
from chaos.failover.spread import Spread
from chaos.reporting.spans import Takeover

EDGES_S = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
NO_FAULT = "no fault on the leader"


@dataclass(frozen=True, slots=True)
class Bin:
    """How many take-overs took `[from_s, to_s)`; None: as long as you like."""

    from_s: float
    to_s: float | None
    count: int

    @property
    def told(self) -> str:
        if self.to_s is None:
            return f"{self.from_s:g} s or more"
        if self.to_s < 1:
            return f"{self.from_s * 1000:g} to {self.to_s * 1000:g} ms"
        return f"{self.from_s:g} to {self.to_s:g} s"


def bins(values_s: Iterable[float]) -> tuple[Bin, ...]:
    """Always all of them, so that reports can be laid side by side."""
    values = list(values_s)
    return tuple(
        Bin(begins, ends, sum(begins <= value and (ends is None or value < ends) for value in values))
        for begins, ends in zip((0.0, *EDGES_S), (*EDGES_S, None), strict=True)
    )


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
