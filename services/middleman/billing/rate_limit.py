"""How fast we ask: a limit for the account and one per endpoint, which learn from the processor's 429s.

The processor limits the account, and each endpoint besides (https://docs.stripe.com/rate-limits). So there is a token
bucket for the account, and one for each endpoint; a call needs a token of both. A 429 says whose limit it was. It halves
that rate at once (once per burst of 429s, not once for each of them) and holds
everything back for as long as the answer asked; afterwards the rate grows by a fixed step per second, up to
the configured ceiling. Without a ceiling there is no limit until the first 429: then the rate seen before it
is what gets halved, and the limit is lifted when the rate has grown to twice what was seen.

A storm in which everything is refused says that the processor wants rest, and nothing about how much it takes
afterwards. So the step is a share of the rate that was known to be good *before* the trouble, and after the first
answer that is no 429 the rate doubles every second up to what is still believed (TCP's slow start, RFC 5681 §3.1):
half of the rate at which success last met a 429, and never less than a quarter of what was known to be good.
"""

import asyncio
import math
from collections import defaultdict
from dataclasses import dataclass

from middleman.ports.clock import Clock

MAX_HOLD_S = 60.0
"""The longest that one answer may hold an endpoint back, whatever it asks for."""


class LimiterOverrun(Exception):
    """More callers wait for an endpoint than the limiter takes: the caller must bound its own concurrency."""


@dataclass(frozen=True, slots=True)
class LimiterTuning:
    """How the limiter reacts; the defaults reach the ceiling again ten seconds after one 429."""

    decrease: float = 0.5  # the rate is multiplied by this
    decrease_at_most_every_s: float = 1.0  # answers to one burst count once
    recovery_per_s: float = 0.05  # of the rate known to be good, added to the rate every second
    believed: float = 0.25  # of the rate known to be good: up to there the rate doubles, whatever was refused
    floor_per_s: float = 1.0  # never slower than this, or a bad minute lasts for ever
    assumed_per_s: float = 25.0  # good for everybody (https://docs.stripe.com/rate-limits), if we saw less
    burst_s: float = 0.1  # how much unused time may be caught up
    max_waiters: int = 10_000  # per endpoint, and for the account


class RateLimiter:
    """`ceiling_per_s` holds for each endpoint on its own, `account_per_s` for all together; 0 is no ceiling.

    For one event loop.
    """

    def __init__(
        self,
        clock: Clock,
        ceiling_per_s: float = 0,
        tuning: LimiterTuning | None = None,
        *,
        account_per_s: float = 0,
    ) -> None:
        for ceiling in (ceiling_per_s, account_per_s):
            if not math.isfinite(ceiling) or ceiling < 0:
                raise ValueError(f"a ceiling is 0 (none) or a number of calls per second, got {ceiling}")
        chosen = tuning or LimiterTuning()
        self._account = _Bucket(clock, account_per_s, chosen)
        self._endpoints: defaultdict[str, _Bucket] = defaultdict(
            lambda: _Bucket(clock, ceiling_per_s, chosen)
        )

    async def acquire(self, endpoint: str) -> None:
        """Return when one call to `endpoint` may start. Callers are served in their order.

        Raises:
            LimiterOverrun: too many callers wait already.
        """
        state = self._endpoints[endpoint]
        if not state.take():
            await state.wait(endpoint)
        if not self._account.take():
            await self._account.wait("the account")

    def passed(self, endpoint: str) -> None:
        """A call was answered with anything but a 429 for its endpoint or the account."""
        self._endpoints[endpoint].answered()
        self._account.answered()

    def throttled(self, endpoint: str, retry_after_s: float | None = None) -> None:
        """A call was answered with a 429 for its endpoint, which may have named a time to stay away."""
        self._endpoints[endpoint].throttled(retry_after_s)

    def account_throttled(self, retry_after_s: float | None = None) -> None:
        """A call was answered with a 429 for the whole account."""
        self._account.throttled(retry_after_s)

    def rate_per_s(self, endpoint: str) -> float | None:
        """The limit in force on `endpoint` now, its own or the account's; None is no limit."""
        rates = (self._endpoints[endpoint].rate_per_s(), self._account.rate_per_s())
        return min((rate for rate in rates if rate is not None), default=None)


class _Bucket:
    """One token bucket and what it has learned."""

    def __init__(self, clock: Clock, ceiling_per_s: float, tuning: LimiterTuning) -> None:
        self._clock = clock
        self._tuning = tuning
        self._ceiling = ceiling_per_s or math.inf
        now_s = clock.boottime_s()
        self._base = self._ceiling  # the rate at `_base_at_s`; it grows by `_step` per second from there
        self._base_at_s = now_s
        self._step = 0.0
        self._good = self._ceiling  # known to be good, before the trouble began
        self._knee = 0.0  # up to here the rate doubles each second once a call has succeeded
        self._succeeded_at_s: float | None = None  # the first time since the last decrease
        self._lifts_at = math.inf  # without a ceiling: the rate at which the limit is lifted
        self._decreased_at_s = -math.inf
        self._held_until_s = -math.inf
        self._tokens = 1.0
        self._filled_at_s = now_s
        self._turn = asyncio.Lock()  # fair: who waits first is served first
        self._waiters = 0
        self._seen = _SeenRate(now_s)

    def take(self) -> bool:
        """Take a token if nobody waits and there is one."""
        return not self._waiters and self._shortage_s() <= 0

    async def wait(self, name: str) -> None:
        if self._waiters >= self._tuning.max_waiters:
            raise LimiterOverrun(f"{self._waiters} callers already wait to call {name!r}")
        self._waiters += 1
        try:
            async with self._turn:
                # A 429 may come in while we sleep, so the answer is computed afresh each time.
                while (shortage_s := self._shortage_s()) > 0:
                    await self._clock.sleep(shortage_s)
        finally:
            self._waiters -= 1

    def answered(self) -> None:
        now_s = self._clock.boottime_s()
        if self._succeeded_at_s is None:
            self._succeeded_at_s = now_s
        self._seen.count(now_s)

    def throttled(self, retry_after_s: float | None) -> None:
        now_s = self._clock.boottime_s()
        if retry_after_s is not None and retry_after_s > 0:
            self._held_until_s = max(self._held_until_s, now_s + min(retry_after_s, MAX_HOLD_S))
        if now_s - self._decreased_at_s < self._tuning.decrease_at_most_every_s:
            return
        rate = self._rate(now_s)
        if rate >= self._ceiling:  # the beginning of a trouble; without a ceiling both are infinite
            self._good = self._ceiling
            if math.isinf(rate):
                rate = self._good = max(self._seen.per_s(now_s), self._tuning.assumed_per_s)
                self._lifts_at = 2 * rate
            self._knee = rate
        if self._succeeded_at_s is not None:
            # Below this rate some calls succeeded, so it says something about what the processor takes.
            self._knee = max(rate * self._tuning.decrease, self._good * self._tuning.believed)
        self._succeeded_at_s = None
        self._step = self._tuning.recovery_per_s * self._good
        # A ceiling below the floor is the operator's word and wins.
        self._base = min(self._ceiling, max(rate * self._tuning.decrease, self._tuning.floor_per_s))
        self._base_at_s = self._decreased_at_s = self._filled_at_s = now_s
        self._tokens = 0.0

    def rate_per_s(self) -> float | None:
        rate = self._rate(self._clock.boottime_s())
        return None if math.isinf(rate) else rate

    def _rate(self, now_s: float) -> float:
        if self._base >= self._ceiling:
            return self._ceiling
        rate = max(self._base + self._step * (now_s - self._base_at_s), self._doubled(now_s))
        if rate >= self._lifts_at:
            self._base, self._lifts_at = math.inf, math.inf
            return math.inf
        return min(rate, self._ceiling)

    def _doubled(self, now_s: float) -> float:
        """The rate by doubling since the first success, up to the knee, and by steps from there."""
        if self._succeeded_at_s is None or self._base >= self._knee:
            return 0.0
        grown_s = now_s - self._succeeded_at_s
        to_knee_s = math.log2(self._knee / self._base)
        if grown_s <= to_knee_s:
            return self._base * math.exp2(grown_s)
        return self._knee + self._step * (grown_s - to_knee_s)

    def _shortage_s(self) -> float:
        """Take a token and return 0, or take none and return how long to wait for one."""
        if math.isinf(self._base) and math.isinf(self._held_until_s):
            return 0.0  # no limit, never was one: the common case costs nothing
        now_s = self._clock.boottime_s()
        if now_s < self._held_until_s:
            return self._held_until_s - now_s
        rate = self._rate(now_s)
        if math.isinf(rate):
            return 0.0
        burst = max(1.0, rate * self._tuning.burst_s)
        self._tokens = min(burst, self._tokens + rate * (now_s - self._filled_at_s))
        self._filled_at_s = now_s
        if self._tokens >= 1.0 - 1e-9:  # sums of floats: a token short by a rounding error is a token
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / rate


class _SeenRate:
    """Answers per second, over the last whole second or the running one if that saw more."""

    def __init__(self, now_s: float) -> None:
        self._since_s = now_s
        self._counted = 0
        self._last_per_s = 0.0

    def count(self, now_s: float) -> None:
        self._roll(now_s)
        self._counted += 1

    def per_s(self, now_s: float) -> float:
        self._roll(now_s)
        return max(self._last_per_s, float(self._counted))

    def _roll(self, now_s: float) -> None:
        elapsed_s = now_s - self._since_s
        if elapsed_s >= 1.0:
            self._last_per_s = self._counted / elapsed_s
            self._since_s, self._counted = now_s, 0
