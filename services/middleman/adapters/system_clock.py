"""The machine's own clocks, for production."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements `Clock` and `WallClock` of `middleman.ports.clock` (Linux)."""

    def boottime_s(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def unix_s(self) -> float:
        """Seconds since the Unix epoch; the system's administrator may set it at any time."""
        return time.clock_gettime(time.CLOCK_REALTIME)

    async def sleep(self, delay_s: float) -> None:
        """Suspend the calling task."""
        await asyncio.sleep(delay_s)
