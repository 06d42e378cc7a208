"""Which parked attempts and notices are tried now: few at once, and a small share of all calls."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from middleman.billing.in_flight import WorkId
from middleman.billing.parking import ParkedBudget
from middleman.domain.ids import AttemptId, NoticeId
from middleman.ports.clock import Clock
from middleman.ports.store import FencedTransaction, OpenAttempt, PendingNotice

_QUIET_S = 1.0
"""After none was due, the database is not asked again for so long."""


@dataclass(slots=True)
class ParkedWork:
    """The parked work of one term. `at_once` bounds how many connections to the processor it can hold."""

    budget: ParkedBudget
    clock: Clock
    at_once: int
    read_rate_per_s: Callable[[], float | None]
    _attempts: set[AttemptId] = field(default_factory=set)
    _notices: set[NoticeId] = field(default_factory=set)
    _asks_again_at_s: float = 0.0
    _notices_first: bool = False

    def allowed(self, in_flight: frozenset[WorkId], room: int) -> int:
        """How many may be taken on now, given what is being carried and how much more would fit."""
        self._attempts &= in_flight
        self._notices &= in_flight
        if self.clock.boottime_s() < self._asks_again_at_s:
            return 0
        free = self.at_once - len(self._attempts) - len(self._notices)
        return max(0, min(free, room, self.budget.available(self.read_rate_per_s())))

    async def due(
        self, transaction: FencedTransaction, limit: int
    ) -> tuple[Sequence[OpenAttempt], Sequence[PendingNotice]]:
        """Up to `limit` that are due for a try; attempts and notices come first by turns."""
        self._notices_first = not self._notices_first
        notices: Sequence[PendingNotice] = ()
        if self._notices_first:
            notices = await transaction.parked_notices(limit, self._notices)
        attempts = await transaction.parked_attempts(limit - len(notices), self._attempts)
        if not self._notices_first:
            notices = await transaction.parked_notices(limit - len(attempts), self._notices)
        return attempts, notices

    def took(self, attempts: Sequence[OpenAttempt], notices: Sequence[PendingNotice]) -> None:
        """These are being tried."""
        self._attempts.update(attempt.attempt_id for attempt in attempts)
        self._notices.update(notice.notice_id for notice in notices)
        self.budget.spend(len(attempts) + len(notices))
        if not attempts and not notices:
            self._asks_again_at_s = self.clock.boottime_s() + _QUIET_S
