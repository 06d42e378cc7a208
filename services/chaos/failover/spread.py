"""Figures of many runs: minimum, median, 99th percentile, maximum, and how they are spread."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Self

MAX_BINS = 12
_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Spread:
    """Of at least one value, in seconds. `p99` is the nearest rank: of less than 100 values the greatest."""

    count: int
    min_s: float
    median_s: float
    p99_s: float
    max_s: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Raises `ValueError` for no values."""
        if not values:
            raise ValueError("no values: there is nothing to summarise")
        ordered = sorted(values)
        return cls(len(ordered), ordered[0], median(ordered), nearest_rank(ordered, 0.99), ordered[-1])

    def to_json(self) -> dict[str, float]:
        """To the microsecond."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed."""
    return ordered[max(0, math.ceil(round(share * len(ordered), 9)) - 1)]


@dataclass(frozen=True, slots=True)
class Bin:
    """How many values lie in `[from_s, to_s)`; the last bin takes its end in."""

    from_s: float
    to_s: float
    count: int


def histogram(values: Sequence[float], bins: int = MAX_BINS) -> list[Bin]:
    """At most `bins` bins of one round width, and one more for stragglers where a few would flatten the rest.

    The width is chosen so that nine tenths of the values fill the bins; what lies beyond them is in the last.
    """
    if not values:
        return []
    ordered = sorted(values)
    low, most, high = ordered[0], nearest_rank(ordered, 0.9), ordered[-1]
    width = _round_width((most - low) / (bins - 2))
    first = math.floor(low / width)
    last = min(math.floor(high / width), first + bins - 1)
    counts = [0] * (last - first + 1)
    beyond = 0
    for value in ordered:
        index = math.floor(value / width) - first
        if index < len(counts):
            counts[index] += 1
        else:
            beyond += 1
    found = [
        Bin((first + index) * width, (first + index + 1) * width, count) for index, count in enumerate(counts)
    ]
    while beyond and found and not found[-1].count:
        found.pop()
    return [*found, Bin(found[-1].to_s, high, beyond)] if beyond else found


def _round_width(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least this, and at least a millisecond."""
    least = max(least, 0.001)
    magnitude = 10.0 ** math.floor(math.log10(least))
    return next(magnitude * step for step in _STEPS if magnitude * step >= least * (1 - 1e-9))
