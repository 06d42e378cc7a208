"""What is seen of a run, to be drawn or told."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

HISTORY = 120
TICKER = 40
ACTING = "acting"


@dataclass(frozen=True, slots=True)
class ReplicaFigure:
    """One replica: `role` is `leader`, `follower`, `candidate`, `starting` or `dead`."""

    name: str
    role: str
    term: int | None
    pid: int | None


@dataclass(slots=True)
class Takeover:
    """A leader was killed; how long until the next took office, and until it settled its first attempt."""

    killed: str
    term: int
    killed_at: datetime
    after_seq: int
    successor: str | None = None
    successor_term: int | None = None
    took_office_s: float | None = None
    first_charge_s: float | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """One line of the ticker; `mood` picks its colour: money, bad, term, or plain."""

    seq: int
    at: datetime
    text: str
    mood: str


@dataclass(slots=True)
class Figures:
    """Everything that the view shows. Written by the run, read when a frame is drawn."""

    subscribers_wanted: int
    phase: str = "starting the servers"
    elapsed_s: float = 0.0
    business_now: datetime | None = None
    clock_rate: float = 0.0
    customers: int = 0
    declines: dict[str, bool] = field(default_factory=dict)  # by subscription: whether its card does
    canceled: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    due: int = 0
    charges_per_s: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    peak_charges_per_s: float = 0.0
    replicas: list[ReplicaFigure] = field(default_factory=list)
    takeovers: list[Takeover] = field(default_factory=list)
    ticker: deque[Tick] = field(default_factory=lambda: deque(maxlen=TICKER))
    progress: deque[str] = field(default_factory=lambda: deque(maxlen=TICKER))

    @property
    def subscribed(self) -> int:
        """Subscriptions that the REST API acknowledged."""
        return len(self.declines)

    @property
    def charged(self) -> int:
        """Attempts settled as succeeded."""
        return self.outcomes.get("succeeded", 0)

    @property
    def leader(self) -> ReplicaFigure | None:
        """Who leads now, if anyone."""
        return next((replica for replica in self.replicas if replica.role == "leader"), None)

    @property
    def doing(self) -> str:
        """The phase in words, with what is going on in it."""
        if self.phase != ACTING:
            return self.phase
        if self.takeovers and self.takeovers[-1].took_office_s is None:
            return f"killed {self.takeovers[-1].killed}: the others take its lease away"
        if self.subscribed < self.subscribers_wanted:
            return "subscribing customers, charging what falls due"
        return "charging what falls due"
