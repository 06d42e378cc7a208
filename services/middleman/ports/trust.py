"""How long a leader may believe that it leads: the deadline that ends before its lease does."""

from __future__ import annotations

from middleman.ports.clock import Clock
from middleman.ports.errors import TrustLost


class Trust:
    """A live, read-only view of the moment until which this candidate may act on its lease.

    The deadline is ``moment before the last renewal was sent + TTL − margin`` on ``CLOCK_BOOTTIME``,
    so it passes before the lease can expire at the coordinator (DESIGN §2.6). A passed deadline is
    final: a renewal that arrives late revives nothing, because another leader may already be at work.
    """

    __slots__ = ("_clock", "_lost_because", "_until_s")

    def __init__(self, clock: Clock, trusted_until_s: float) -> None:
        self._clock = clock
        self._until_s = trusted_until_s
        self._lost_because: str | None = None

    @property
    def trusted_until_s(self) -> float:
        """The deadline, in seconds on ``CLOCK_BOOTTIME``; of the last renewal when trust is lost."""
        return self._until_s

    @property
    def lost_because(self) -> str | None:
        """Why trust was lost, or ``None`` while it holds. Reading it notices a passed deadline."""
        if self._lost_because is None:
            overdue_s = self._clock.boottime_s() - self._until_s
            if overdue_s >= 0:
                self._lost_because = (
                    f"the lease was not renewed in time (trust ran out {overdue_s:.3f} s ago)"
                )
        return self._lost_because

    def remaining_s(self) -> float:
        """Seconds of trust left; 0 once it is lost."""
        if self.lost_because is not None:
            return 0.0
        return max(0.0, self._until_s - self._clock.boottime_s())

    def require(self) -> None:
        """Raise `TrustLost` unless trust holds now.

        Synchronous on purpose: call it directly before a call to the processor starts, with no
        ``await`` in between.
        """
        reason = self.lost_because
        if reason is not None:
            raise TrustLost(reason)


class TrustWindow(Trust):
    """The writable side of `Trust`, held by whoever renews the lease."""

    __slots__ = ()

    def extend(self, trusted_until_s: float) -> None:
        """Move the deadline forward after a renewal; raise `TrustLost` if it has already passed.

        An answer to an older request may arrive after a newer one, so the deadline never moves back.
        """
        self.require()
        self._until_s = max(self._until_s, trusted_until_s)

    def end(self, reason: str) -> None:
        """End trust now and for good. The first reason stands."""
        if self.lost_because is None:
            self._lost_because = reason
