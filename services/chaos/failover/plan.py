"""What is to be measured."""

from dataclasses import dataclass
from enum import StrEnum

DAY_S = 86_400
MAX_RUNS = 10_000


class Kind(StrEnum):
    """What happens to the leader."""

    CRASH = "crash"
    FREEZE = "freeze"
    GRACEFUL = "graceful"
    PARTITION = "partition"


class Path(StrEnum):
    """How the others may notice: by the pulse and by the lease, or with the pulse switched off."""

    PULSE = "pulse"
    LEASE_ONLY = "lease-only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A measurement that anyone can repeat: the seed chooses the moments. Raises `ValueError`.

    `runs` are made for each path. `subscriptions` daily ones are due evenly over a virtual day, which lasts
    `DAY_S / clock_rate` seconds: by default a hundred charges a second, which leave most of the machine idle.
    """

    kind: Kind
    runs: int = 20
    replicas: int = 3
    lease_only: bool = False
    seed: int = 1
    subscriptions: int = 200
    clock_rate: float = 43_200
    rest_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= MAX_RUNS:
            raise ValueError(f"runs={self.runs}: must be from 1 to {MAX_RUNS}")
        if not 2 <= self.replicas <= 9:
            raise ValueError(f"replicas={self.replicas}: must be from 2 to 9, or nobody takes over")
        if not 1 <= self.subscriptions <= 100_000:
            raise ValueError(f"subscriptions={self.subscriptions}: must be from 1 to 100000")
        if not 0 < self.clock_rate <= 1_000_000:
            raise ValueError(f"clock_rate={self.clock_rate:g}: must be above 0 and at most 1000000")

    @property
    def paths(self) -> tuple[Path, ...]:
        """A crash is measured on both paths, for the ratio; nothing else has anything to do with the pulse."""
        if self.lease_only:
            return (Path.LEASE_ONLY,)
        return (Path.PULSE, Path.LEASE_ONLY) if self.kind is Kind.CRASH else (Path.PULSE,)

    @property
    def charges_per_s(self) -> float:
        """How much falls due."""
        return self.subscriptions * self.clock_rate / DAY_S
