"""Fewer calls at once while the event loop is late: a leader that is busy must not starve its own lease.

The lease is renewed on the same loop as everything else, on purpose: a wedged loop has to lose it. But a loop that is
merely busy, on a machine that others keep busy as well, would lose it too: with dozens of answers to handle in each
turn, the few turns that a renewal takes last longer than the renewal may. The successor inherits the same work and
loses its lease the same way, and so on, while hardly anything is charged. So the work makes room: the number of calls
at once is halved when the loop is found late, and grows back step by step when it is not (as TCP does; Jacobson,
"Congestion Avoidance and Control", 1988). Fewer calls at once cost little there: the processor of such a machine is
busy either way.
"""

import asyncio
from collections import deque
from types import TracebackType

import structlog

from middleman.billing.observer import BillingObserver
from middleman.ports.clock import Clock

log = structlog.get_logger(__name__)

PROBE_INTERVAL_S = 0.05
LATE_S = 0.1
"""A renewal takes about five turns of the loop and has half a second."""
_FLOOR = 2
_STEPS = 16  # from nothing to the full number: within a second of a loop in time


class Slots:
    """A semaphore whose size may change; who comes first is served first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if self._taken < self.limit and not self._waiting:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()  # it was our turn, and nobody will take it
            elif turn in self._waiting:
                self._waiting.remove(turn)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._give_back()

    def resize(self, limit: int) -> None:
        """Let so many in at once from now on; who is in already stays."""
        self.limit = limit
        self._let_in()

    def _give_back(self) -> None:
        self._taken -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():  # its owner may have been cancelled in this very turn of the loop
                self._taken += 1
                turn.set_result(None)


class Pace:
    """Watches how late the event loop is, and sizes the slots accordingly."""

    def __init__(self, slots: Slots, clock: Clock, observer: BillingObserver) -> None:
        """The slots' size now is the most that they will get."""
        self._slots = slots
        self._full = slots.limit
        self._clock = clock
        self._observer = observer

    async def keep(self) -> None:
        """Watch until cancelled."""
        self._observer.slots(self._slots.limit)
        while True:
            asked_s = self._clock.boottime_s()
            await self._clock.sleep(PROBE_INTERVAL_S)
            self.felt(self._clock.boottime_s() - asked_s - PROBE_INTERVAL_S)

    def felt(self, late_s: float) -> None:
        """The loop was so late just now."""
        limit = self._slots.limit
        if late_s > LATE_S:
            limit = max(min(_FLOOR, self._full), limit // 2)
        elif limit < self._full:
            limit = min(self._full, limit + max(1, self._full // _STEPS))
        if limit == self._slots.limit:
            return
        if self._slots.limit == self._full:
            log.warning("calls.throttled", late_ms=round(late_s * 1000), limit=limit, full=self._full)
        self._slots.resize(limit)
        self._observer.slots(limit)
