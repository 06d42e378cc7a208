"""What a replica's life tells the outside: for metrics and the operations endpoint."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from middleman.ports.coordinator import Election
from middleman.ports.term import Term


class Role(StrEnum):
    """Where a replica is in its life.

    For display only: nothing may be charged on the strength of a role. Leadership is a `Term` and
    its trust, passed as arguments.
    """

    CANDIDATE = "candidate"
    """Trying to obtain a lease."""
    FOLLOWER = "follower"
    """Standing for election with a live lease while another replica leads, or taking office."""
    LEADER = "leader"
    """In office, charging."""
    STOOD_DOWN = "stood_down"
    """Out of the election: between two candidacies, or stopped."""


class Observer(Protocol):
    """Callbacks in the order in which things happen. They must not block or raise.

    ``at_s`` is on ``CLOCK_BOOTTIME``; every other figure is a duration in seconds.
    """

    def role_changed(self, role: Role, at_s: float) -> None:
        """The replica is now in ``role``."""
        ...

    def election_won(self, election: Election, waited_s: float, at_s: float) -> None:
        """The election key is ours, ``waited_s`` after the candidacy was entered."""
        ...

    def term_started(self, term: Term, office_s: float, at_s: float) -> None:
        """The pipeline starts, ``office_s`` after the election was won."""
        ...

    def term_ended(self, term: Term, reason: str, lasted_s: float, at_s: float) -> None:
        """The pipeline has stopped, ``lasted_s`` after the start; the lease is given up next."""
        ...

    def pulse_felt(self) -> None:
        """A connection to whoever leads is open."""
        ...

    def pulse_broken(self, broke_s: float, at_s: float) -> None:
        """That connection broke, and now it is certain that the leader's process is gone."""
        ...

    def leader_revoked(self, took_s: float, at_s: float) -> None:
        """A dead leader's lease is gone, ``took_s`` after its pulse broke."""
        ...

    def pulse_missing(self, missing: bool) -> None:
        """Whether no connection to the leader can be made, so that its death would cost a whole lease."""
        ...

    def foreign_members(self, count: int) -> None:
        """So many of the coordinator's endpoints belong to another cluster and are left out."""
        ...


class SilentObserver:
    """Observes nothing: for callers that need no metrics."""

    def role_changed(self, role: Role, at_s: float) -> None:
        """Ignore."""

    def election_won(self, election: Election, waited_s: float, at_s: float) -> None:
        """Ignore."""

    def term_started(self, term: Term, office_s: float, at_s: float) -> None:
        """Ignore."""

    def term_ended(self, term: Term, reason: str, lasted_s: float, at_s: float) -> None:
        """Ignore."""

    def pulse_felt(self) -> None:
        """Ignore."""

    def pulse_broken(self, broke_s: float, at_s: float) -> None:
        """Ignore."""

    def leader_revoked(self, took_s: float, at_s: float) -> None:
        """Ignore."""

    def pulse_missing(self, missing: bool) -> None:
        """Ignore."""

    def foreign_members(self, count: int) -> None:
        """Ignore."""
