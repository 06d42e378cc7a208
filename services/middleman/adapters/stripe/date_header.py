"""The processor's clock, as the `Date` header of its answers shows it (RFC 9110, section 6.6.1)."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

from middleman.ports.clock import Clock, ClockReading

_RESOLUTION_S = 1.0
_EVERY_S = 1.0  # reading it with each of a thousand answers a second would cost more than it tells


class DateHeader:
    """Keeps the latest reading. The header is made between the request and the end of the answer."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.last: ClockReading | None = None

    def sent(self) -> float:
        """When a request is sent; `answered` wants it back."""
        return self._clock.boottime_s()

    def answered(self, headers: Mapping[str, str], sent_s: float) -> None:
        """An answer has come. One without the header, or from a cache (with `Age`), says nothing of a clock now."""
        now_s = self._clock.boottime_s()
        if self.last is not None and now_s - self.last.not_after_s < _EVERY_S:
            return
        date = headers.get("Date")
        if date is None or headers.get("Age") is not None:
            return
        try:
            shown = parsedate_to_datetime(date)
            unix_s = (shown if shown.tzinfo is not None else shown.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return  # it is no date, and nothing depends on one answer
        self.last = ClockReading(unix_s, sent_s, now_s, _RESOLUTION_S)
