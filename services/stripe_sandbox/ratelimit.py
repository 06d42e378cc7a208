"""A token bucket per operation, as Stripe limits its endpoints, or one for the whole account."""

from collections.abc import Callable

from stripe_sandbox.errors import rate_limited


class RateLimit:
    """Lets `per_s` requests a second of each operation pass, with bursts of one second's worth.

    `reason` is what the header of a 429 says: `endpoint-rate` or `global-rate`.
    """

    def __init__(
        self, per_s: float, monotonic_s: Callable[[], float], *, reason: str = "endpoint-rate"
    ) -> None:
        self._per_s = per_s
        self._reason = reason
        self._burst = max(1.0, per_s)
        self._now_s = monotonic_s
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, operation: str) -> None:
        """Raises Stripe's 429 when the operation's bucket is empty."""
        now_s = self._now_s()
        tokens, filled_s = self._buckets.get(operation, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - filled_s) * self._per_s)
        if tokens < 1:
            self._buckets[operation] = (tokens, now_s)
            raise rate_limited(self._reason)
        self._buckets[operation] = (tokens - 1, now_s)
