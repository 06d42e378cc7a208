"""Virtual time: an event loop that jumps to the next timer instead of waiting for it.

A test that takes minutes of waiting runs in milliseconds, and always in the same order.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class NothingWillHappen(Exception):
    """Every task waits for something that no timer will bring about."""


class _JumpingSelector(selectors.SelectSelector):
    """Reports ready files without waiting; where the loop would wait, time jumps instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise NothingWillHappen
        if not ready and timeout is not None:
            self.now_s += max(timeout, 0.0)
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time; for code that talks to no other process."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds."""
        return self._jumping.now_s


class VirtualClock:
    """Implements `Clock` and `WallClock` of `middleman.ports.clock` on the running loop's time."""

    def __init__(self) -> None:
        self._suspended_s = 0.0
        self.wall_ahead_s = 0.0

    def boottime_s(self) -> float:
        """The loop's seconds plus those that the machine was suspended."""
        return asyncio.get_running_loop().time() + self._suspended_s

    def unix_s(self) -> float:
        """The date: by default the boot clock's seconds, so that clocks agree unless a test sets one wrong."""
        return self.boottime_s() + self.wall_ahead_s

    async def sleep(self, delay_s: float) -> None:
        """Wait on the loop, whose timers, as on Linux, do not count a suspend."""
        await asyncio.sleep(delay_s)

    def suspend(self, duration_s: float) -> None:
        """Close the lid for a while: the boot clock goes on, the loop's does not."""
        self._suspended_s += duration_s


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a synchronous test out of a coroutine that runs in virtual time, at most an hour of it."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(3600):
                await test(*args, **kwargs)

        with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
            runner.run(bounded())

    return run
