"""What is to happen in one run."""

from dataclasses import dataclass

MONTH_S = 2_628_000  # a twelfth of 365 days
MAX_SUBSCRIBERS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A run that anyone can repeat: the same seed makes the same subscribers. Raises `ValueError`.

    `duration_s` None: until someone stops it. `kill_leader_every_s` 0: nobody is killed.
    `clock_rate` is virtual seconds per real second.
    """

    subscribers: int = 2000
    duration_s: float | None = None
    kill_leader_every_s: float = 10.0
    restart_after_s: float = 2.0
    clock_rate: float = MONTH_S / 60
    seed: int = 1
    rest_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if not 1 <= self.subscribers <= MAX_SUBSCRIBERS:
            raise ValueError(f"subscribers={self.subscribers}: must be from 1 to {MAX_SUBSCRIBERS}")
        if self.duration_s is not None and not 1 <= self.duration_s <= 86_400:
            raise ValueError(f"duration-s={self.duration_s:g}: must be from 1 to 86400")
        if self.kill_leader_every_s and not 1 <= self.kill_leader_every_s <= 86_400:
            raise ValueError(
                f"kill-leader-every-s={self.kill_leader_every_s:g}: must be from 1 to 86400, or 0 for never"
            )
        if not 0 < self.clock_rate <= 1_000_000:
            raise ValueError(f"clock-rate={self.clock_rate:g}: must be above 0 and at most 1000000")
