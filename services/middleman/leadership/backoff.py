"""Growing pauses between failures, spread by chance so that replicas do not move in step."""

from __future__ import annotations

from collections.abc import Callable


class Backoff:
    """Doubling delays from ``initial_s`` up to ``max_s``, each shortened by up to a half.

    ``uniform`` gives a number in ``[0, 1)`` and is injected, so that a seeded run repeats itself.
    """

    __slots__ = ("_initial_s", "_max_s", "_next_s", "_uniform")

    def __init__(self, initial_s: float, max_s: float, uniform: Callable[[], float]) -> None:
        if not 0 < initial_s <= max_s:
            raise ValueError(f"a backoff needs 0 < initial_s <= max_s, got {initial_s} and {max_s}")
        self._initial_s = initial_s
        self._max_s = max_s
        self._next_s = initial_s
        self._uniform = uniform

    def next_delay_s(self) -> float:
        """The delay before the next try; every call without `reset` doubles the one after it."""
        delay_s = self._next_s * (1 - self._uniform() / 2)
        self._next_s = min(self._next_s * 2, self._max_s)
        return delay_s

    def lengthen(self) -> None:
        """Let the next delay be as long as any: others are to go first."""
        self._next_s = self._max_s

    def reset(self) -> None:
        """Start small again, after a success."""
        self._next_s = self._initial_s
