"""Where the time of a take-over goes, as the successor sees it.

    leader lost ─▶ noticed ─▶ revoked ─▶ elected ─▶ in_office ─▶ recovered ─▶ claimed ─▶ charged
       pulse broken, or its key deleted

Every stage is told as seconds since the first sign that the leader was lost, on the successor's own clock. Some
do not occur: a leader that resigned or whose lease ran out is not noticed dead and not revoked by us, and recovery
may settle the first charge before anything is claimed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import structlog

from middleman.ports.clock import Clock
from middleman.ports.coordinator import Election
from middleman.ports.term import Term

log = structlog.get_logger(__name__)


class Stage(StrEnum):
    """What a take-over has come to, in the usual order."""

    NOTICED = "noticed"
    """The leader's process is gone for certain."""
    REVOKED = "revoked"
    """Its lease is gone."""
    ELECTED = "elected"
    IN_OFFICE = "in_office"
    """The fence is raised and the election still stands."""
    RECOVERED = "recovered"
    CLAIMED = "claimed"
    CHARGED = "charged"
    """The first attempt of the term is settled."""


class LostBy(StrEnum):
    """What first told that the leader was lost."""

    PULSE = "pulse"
    KEY = "key"
    """Its election key was deleted: it resigned, its lease ran out, or another follower was faster."""
    NOTHING = "nothing"
    """No leader was lost before our eyes: the measurement begins with our election."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One take-over, in seconds since the leader was lost.

    `idle`: nothing was due or open, so that the first charge waited for work and not for us.
    """

    token: int
    lost_by: LostBy
    idle: bool
    stages: Mapping[Stage, float]


class TakeoverWatch:
    """Notes the moments of one take-over after the other, and tells each when its first charge is settled."""

    def __init__(self, clock: Clock, tell: Callable[[Measured], None]) -> None:
        self._clock = clock
        self._tell = tell
        self._suspected: dict[Stage, float] = {}
        self._broke_s: float | None = None
        self._token: int | None = None
        self._moments: dict[Stage, float] = {}
        self._lost_s = 0.0
        self._lost_by = LostBy.NOTHING
        self._idle = False

    def pulse_felt(self) -> None:
        """A leader lives: what was noted of one before it is over."""
        self._broke_s = None
        self._suspected.clear()

    def pulse_broken(self, broke_s: float, certain_s: float) -> None:
        """The connection to the leader broke, and a moment later it was certain that its process is gone."""
        self._broke_s = broke_s
        self._suspected[Stage.NOTICED] = certain_s

    def leader_revoked(self, at_s: float) -> None:
        """Its lease is gone, by us or by somebody faster."""
        self._suspected.setdefault(Stage.REVOKED, at_s)

    def elected(self, election: Election, at_s: float) -> None:
        """We won; `election.vacant_s` is when we saw the key go."""
        self._token = None
        self._moments = {Stage.ELECTED: at_s}
        vacant_s = election.vacant_s
        if self._broke_s is not None and (vacant_s is None or self._broke_s <= vacant_s):
            self._lost_by, self._lost_s = LostBy.PULSE, self._broke_s
            self._moments |= self._suspected
            if vacant_s is not None:
                self._moments[Stage.REVOKED] = min(vacant_s, self._suspected.get(Stage.REVOKED, vacant_s))
        elif vacant_s is not None:
            self._lost_by, self._lost_s = LostBy.KEY, vacant_s
        else:
            self._lost_by, self._lost_s = LostBy.NOTHING, at_s
        self.pulse_felt()  # what follows is ours; the pulse of the one before us may still break

    def in_office(self, term: Term, at_s: float) -> None:
        """The term begins."""
        self._token, self._idle = term.number, False
        self._moments[Stage.IN_OFFICE] = at_s

    def recovered(self) -> None:
        """What a predecessor left has been dealt with."""
        self._reached(Stage.RECOVERED)

    def claimed(self, kind: str, attempts: int) -> None:
        """Something was claimed, or nothing: a claim of retries ends each look at what is due."""
        if attempts:
            self._reached(Stage.CLAIMED)
        elif kind == "retry" and Stage.CLAIMED not in self._moments:
            self._idle = True

    def settled(self) -> None:
        """An attempt was settled; the first of a term ends the take-over."""
        if self._token is None:
            return
        self._reached(Stage.CHARGED)
        since = {stage: self._moments[stage] - self._lost_s for stage in Stage if stage in self._moments}
        measured = Measured(self._token, self._lost_by, self._idle, since)
        self._token = None
        log.info(
            "takeover.measured",
            token=measured.token,
            lost_by=measured.lost_by.value,
            idle=measured.idle,
            **{f"{stage}_ms": round(s * 1000, 1) for stage, s in since.items()},
        )
        self._tell(measured)

    def ended(self) -> None:
        """The term ended; one that charged nothing has nothing to tell."""
        self._token = None

    def _reached(self, stage: Stage) -> None:
        if self._token is not None:
            self._moments.setdefault(stage, self._clock.boottime_s())
