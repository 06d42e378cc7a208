"""The clock that the core reads: seconds that no suspend, step or slew can hide. And what wall clocks showed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """Seconds since boot, counting suspend, and a way to wait.

    Replica clocks decide how long a leader trusts itself and how long it waits; they never decide
    what is due, which is the database's business (DESIGN §2.7).
    """

    def boottime_s(self) -> float:
        """Seconds on ``CLOCK_BOOTTIME``: monotonic, and running while the machine sleeps."""
        ...

    async def sleep(self, delay_s: float) -> None:
        """Suspend the calling task for ``delay_s`` seconds; zero or less only yields."""
        ...


class WallClock(Protocol):
    """The machine's idea of the date. Nothing is due by it; other clocks are compared with it (ADR 0023)."""

    def unix_s(self) -> float:
        """Seconds since the Unix epoch."""
        ...


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What a wall clock showed, and when it was read.

    The clock showed `unix_s`, or up to `resolution_s` more, at some instant between `not_before_s` and `not_after_s` on
    this machine's boottime clock: a clock elsewhere is read by asking, and the answer takes a while.
    """

    unix_s: float
    not_before_s: float
    not_after_s: float
    resolution_s: float = 0.0

    def ahead_of(self, other: ClockReading) -> tuple[float, float]:
        """How far this clock is ahead of the other, in seconds: at least, and at most. Negative where it is behind."""
        least = (self.unix_s - self.not_after_s) - (other.unix_s + other.resolution_s - other.not_before_s)
        most = (self.unix_s + self.resolution_s - self.not_before_s) - (other.unix_s - other.not_after_s)
        return least, most
