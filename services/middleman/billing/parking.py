"""When a request stops waiting in a slot of the leader, and when it is tried again.

A leader carries a bounded number of attempts at once. An attempt that gets no definite answer would hold its slot
for as long as that lasts: a day where the processor stored a 500, 26 hours where the bank of an Indian card takes its
time. So such an attempt is *parked*: the database keeps when it is due for the next try, and its slot is free
(docs/adr/0020-a-waiting-attempt-holds-no-slot.md).

Whether the trouble is the attempt's own is seen from the others. While nobody gets a definite answer, the processor is
away, and attempts wait in their slots: that is what keeps the leader from opening more of them.
"""

import math
from dataclasses import dataclass

from middleman.ports.clock import Clock
from middleman.ports.processor import (
    ACCOUNT_RATE_LIMITED,
    NO_CONNECTION,
    NO_FREE_CONNECTION,
    NOT_SENDABLE,
    PAUSED,
    RATE_LIMITED,
)

_NEVER_ITS_OWN = frozenset(
    {
        RATE_LIMITED,
        ACCOUNT_RATE_LIMITED,
        NO_CONNECTION,
        NO_FREE_CONNECTION,
        PAUSED,
        "not_authorized",
        "closed",
        "too_many_waiting",
    }
)
"""Each `reason` of a missing answer that says nothing about the object that was asked about."""

_ALWAYS_ITS_OWN = frozenset({NOT_SENDABLE})
"""Each `reason` that concerns one request whoever else is answered: it never left."""

_MAKES_NO_ROOM = _NEVER_ITS_OWN - {PAUSED}
"""While the breaker is open, notices and parked work still need room: what is paused gives way."""


@dataclass(frozen=True, slots=True)
class ParkingPolicy:
    """How long a request waits in its slot, and how long it is parked. Times are in seconds."""

    after_tries: int = 5
    after_s: float = 15.0
    first_s: float = 2.0
    factor: float = 2.0
    most_s: float = 3600.0
    make_room_every_s: float = 1.0

    def is_patient(self, tries: int, waited_s: float) -> bool:
        """Whether the next try is made from the slot, after `tries` without a definite answer in `waited_s`."""
        return tries < self.after_tries and (waited_s < self.after_s or tries < 2)

    def parked_s(self, times: int) -> float:
        """For how long a request is parked that is parked for the `times`-th time (from 1)."""
        return min(self.first_s * self.factor ** min(times - 1, 64), self.most_s)


class Answers:
    """When each step was last answered definitely, for any request of the term. For one event loop."""

    def __init__(self, clock: Clock, policy: ParkingPolicy) -> None:
        self._clock = clock
        self._policy = policy
        self._answered_at_s: dict[str, float] = {}
        self._made_room_at_s = -math.inf

    def answered(self, step: str) -> None:
        """The processor gave a definite answer to this step."""
        self._answered_at_s[step] = self._clock.boottime_s()

    def others_are_answered(self, step: str, reason: str, since_s: float) -> bool:
        """Whether the step was answered for somebody since then, so that `reason` is one request's own trouble."""
        if reason in _ALWAYS_ITS_OWN:
            return True
        return reason not in _NEVER_ITS_OWN and self._answered_at_s.get(step, -math.inf) >= since_s

    def may_make_room(self, reason: str) -> bool:
        """Whether a request may be parked although nobody is answered; true once in `make_room_every_s`.

        Without it a full set of requests that all have trouble of their own would let nobody in who could prove it.
        """
        now_s = self._clock.boottime_s()
        is_too_soon = now_s - self._made_room_at_s < self._policy.make_room_every_s
        if is_too_soon or reason in _MAKES_NO_ROOM:
            return False
        self._made_room_at_s = now_s
        return True


class ParkedBudget:
    """How many parked requests may be tried now: a small share of the rate limit, however many are parked."""

    SHARE = 0.05
    UNLIMITED_PER_S = 50.0
    """The share where no rate limit is known: one try costs the leader about a millisecond."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tokens = 1.0
        self._filled_at_s = clock.boottime_s()

    def available(self, rate_per_s: float | None) -> int:
        """How many may be tried now; `rate_per_s` is the rate limit of reading, None where there is none."""
        share_per_s = self.UNLIMITED_PER_S if rate_per_s is None else rate_per_s * self.SHARE
        now_s = self._clock.boottime_s()
        most = max(1.0, share_per_s)
        self._tokens = min(most, self._tokens + share_per_s * (now_s - self._filled_at_s))
        self._filled_at_s = now_s
        return int(self._tokens + 1e-9)

    def spend(self, count: int) -> None:
        """So many are being tried."""
        self._tokens -= count
