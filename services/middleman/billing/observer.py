"""What the pipeline tells the outside: for metrics, logs and the operations endpoint."""

from typing import Protocol


class BillingObserver(Protocol):
    """Callbacks. They must not block or raise. Durations are in seconds."""

    def recovered(self, attempts: int, took_s: float) -> None:
        """Every open attempt that the term found has been dealt with."""
        ...

    def claimed(self, kind: str, attempts: int, lag_s: float, took_s: float) -> None:
        """`kind` is `due` or `retry`; `lag_s` is how late the oldest was, in business time."""
        ...

    def called(self, step: str, result: str, took_s: float) -> None:
        """One call to the processor: `step` is `create`, `confirm`, `read` or `list`."""
        ...

    def flushed(self, stage: str, items: int, took_s: float) -> None:
        """One fenced transaction: `stage` names the write, such as `bind`, `settle` or `park`."""
        ...

    def settled(self, outcome: str) -> None:
        """One attempt was settled."""
        ...

    def became_unknown(self, reason: str) -> None:
        """The outcome of one attempt is unknown."""
        ...

    def parked(self, reason: str) -> None:
        """One attempt was parked: it waits in the database for its next try."""
        ...

    def looked(self, finding: str) -> None:
        """A notice was looked into: the intent is `succeeded`, `canceled` or `neither`."""
        ...

    def in_flight(self, attempts: int, unanswered: int) -> None:
        """How many attempts are between claim and settle now, and how many of them wait to ask again."""
        ...

    def slots(self, limit: int) -> None:
        """So many calls at once are allowed now."""
        ...

    def refused_us(self, step: str, code: str) -> None:
        """The processor refused a call for the operator's sake."""
        ...

    def breaker(self, step: str, is_open: bool) -> None:
        """Whether calls of this step are paused, but for a probe now and then."""
        ...

    def clock_ahead(self, clock: str, ahead_s: float) -> None:
        """The clock of the `database` or the `processor` is so far ahead of this replica's; negative: behind."""
        ...

    def clocks_apart(self, wrong: str | None) -> None:
        """Nothing new is claimed, because this clock differs from the others (or `undecided`); None: they agree again."""
        ...

    def store_unavailable(self) -> None:
        """A transaction has to be repeated because the database gave no answer."""
        ...


class SilentBillingObserver:
    """Observes nothing."""

    def recovered(self, attempts: int, took_s: float) -> None:
        """Ignore."""

    def claimed(self, kind: str, attempts: int, lag_s: float, took_s: float) -> None:
        """Ignore."""

    def called(self, step: str, result: str, took_s: float) -> None:
        """Ignore."""

    def flushed(self, stage: str, items: int, took_s: float) -> None:
        """Ignore."""

    def settled(self, outcome: str) -> None:
        """Ignore."""

    def became_unknown(self, reason: str) -> None:
        """Ignore."""

    def parked(self, reason: str) -> None:
        """Ignore."""

    def looked(self, finding: str) -> None:
        """Ignore."""

    def in_flight(self, attempts: int, unanswered: int) -> None:
        """Ignore."""

    def slots(self, limit: int) -> None:
        """Ignore."""

    def refused_us(self, step: str, code: str) -> None:
        """Ignore."""

    def breaker(self, step: str, is_open: bool) -> None:
        """Ignore."""

    def clock_ahead(self, clock: str, ahead_s: float) -> None:
        """Ignore."""

    def clocks_apart(self, wrong: str | None) -> None:
        """Ignore."""

    def store_unavailable(self) -> None:
        """Ignore."""
