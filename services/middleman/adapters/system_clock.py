"""The machine's own clock, for production."""

from __future__ import annotations

import asyncio
import time


class SystemClock:
    """Implements `middleman.ports.clock.Clock` on ``CLOCK_BOOTTIME`` (Linux)."""

    def boottime_s(self) -> float:
        """Seconds since boot, suspend included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def sleep(self, delay_s: float) -> None:
        """Suspend the calling task."""
        await asyncio.sleep(delay_s)
