"""How long a leader goes on without a database before it lets another replica try."""

from middleman.ports.clock import Clock
from middleman.ports.store import StoreUnavailable


class Patience:
    """Shared by all who write in one term: one transaction that commits makes it whole again.

    A leader that alone is cut off from the database would otherwise keep its lease and bill nothing for
    ever. When the database is away for everybody, giving up costs a change of leader and nothing else.
    """

    def __init__(self, clock: Clock, limit_s: float) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._tried_since_s: float | None = None

    def answered(self) -> None:
        """A transaction got its answer."""
        self._tried_since_s = None

    def unanswered(self, error: StoreUnavailable) -> None:
        """A transaction got none; raises `error` once that has gone on for longer than the limit."""
        now_s = self._clock.boottime_s()
        if self._tried_since_s is None:
            self._tried_since_s = now_s
        elif now_s - self._tried_since_s > self._limit_s:
            raise error
