"""The clock that the core reads: seconds that no suspend, step or slew can hide."""

from __future__ import annotations

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
