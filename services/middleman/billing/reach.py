"""How long a leader goes on without the processor before it lets another replica try (ADR 0013)."""

from collections.abc import Callable

import structlog

from middleman.ports.clock import Clock
from middleman.ports.errors import ProcessorUnreachable

log = structlog.get_logger(__name__)

FIRST_LIMIT_S = 9.0
"""Below the ten seconds that a call may take by default, so that the first calls lost in a black hole suffice."""

MAX_LIMIT_S = 300.0
_GROWTH = 3
_FORGOTTEN_AFTER_S = 3600.0

# One call that hangs by itself is no sign that the way to the processor is cut.
_AT_LEAST_CALLS = 2


class ProcessorReach:
    """One per replica, for all of its terms: whether anything comes back from the processor.

    A leader that alone is cut off from the processor would otherwise keep its lease and charge nothing for ever.
    When the processor is away for everybody, giving up helps nobody; since no replica can tell, each tries once
    soon, and after that for three times as long whenever it has heard nothing since, up to five minutes.
    """

    def __init__(self, clock: Clock, uniform: Callable[[], float]) -> None:
        """`uniform` gives numbers in `[0, 1)` for jitter."""
        self._clock = clock
        self._uniform = uniform
        self._base_limit_s = FIRST_LIMIT_S
        self._limit_s = FIRST_LIMIT_S
        self._gave_up_at_s: float | None = None
        self._heard_at_s = 0.0
        self._quiet_since_s = 0.0
        self._unheard = 0
        self._has_given_up = False

    def begin_term(self) -> None:
        """A new term gets its own time. Trouble of long ago does not make it longer."""
        now_s = self._clock.boottime_s()
        if self._gave_up_at_s is not None and now_s - self._gave_up_at_s > _FORGOTTEN_AFTER_S:
            self._trust_again()
        self._heard_at_s = now_s
        self._unheard = 0
        self._has_given_up = False

    def heard(self) -> None:
        """The processor answered, whatever it said: a 429 or a 500 is an answer."""
        self._heard_at_s = self._clock.boottime_s()
        self._unheard = 0
        if self._gave_up_at_s is not None:
            self._trust_again()

    def unheard(self, started_s: float, reason: str) -> None:
        """Nothing came back of a call that was started then.

        Raises:
            ProcessorUnreachable: that has gone on for longer than this replica's patience lasts.
        """
        if self._unheard == 0:
            self._quiet_since_s = max(started_s, self._heard_at_s)
        self._unheard += 1
        now_s = self._clock.boottime_s()
        quiet_s = now_s - self._quiet_since_s
        if not self._has_given_up:  # several calls may end together, and the term ends once
            if self._unheard < _AT_LEAST_CALLS or quiet_s < self._limit_s:
                return
            log.warning(
                "processor.unreachable", quiet_s=round(quiet_s, 3), calls=self._unheard, reason=reason
            )
            self._grow(now_s)
        raise ProcessorUnreachable(
            f"nothing came back from the processor for {quiet_s:.1f} s ({reason}): another replica may reach it"
        )

    def _grow(self, now_s: float) -> None:
        self._has_given_up = True
        self._gave_up_at_s = now_s
        self._base_limit_s = min(self._base_limit_s * _GROWTH, MAX_LIMIT_S)
        self._limit_s = self._base_limit_s * (1 + self._uniform() / 4)

    def _trust_again(self) -> None:
        self._gave_up_at_s = None
        self._base_limit_s = self._limit_s = FIRST_LIMIT_S
