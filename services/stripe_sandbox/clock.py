"""The sandbox's clock: wall time plus an offset that a test may set, so that a day passes in a moment."""

import time
from email.utils import formatdate

MAX_OFFSET_S = 100 * 366 * 24 * 3600
"""A century either way: further out, Unix times no longer fit what clients parse."""


class Clock:
    """Wall time shifted by `offset_s` seconds. The offset is kept in the ledger across restarts."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self.offset_s = offset_s
        self._dated_s = 0
        self._date = ""

    def now_s(self) -> float:
        """Seconds since the Unix epoch on the shifted clock."""
        return time.time() + self.offset_s

    def unix(self) -> int:
        """Whole seconds since the Unix epoch, as Stripe stamps its objects."""
        return int(time.time() + self.offset_s)

    def http_date(self) -> str:
        """The same second as the header `Date` of an answer (RFC 9110); Stripe's objects and headers share a clock too."""
        now_s = self.unix()
        if now_s != self._dated_s:
            self._dated_s, self._date = now_s, formatdate(now_s, usegmt=True)
        return self._date
