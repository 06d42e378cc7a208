"""The coordinator: who leads a scope, decided outside this process.

Contract, which ``tests/contract/coordinator`` runs against every adapter:

* At most one candidate holds a scope's election key at any moment of the coordinator's own history.
* A candidate's view of its own victory may be late. It is therefore only ever *trusted* for a time
  (`Candidacy.trust`), which ends before the lease can expire at the coordinator, and whoever acts on
  it is fenced by the database besides.
* Losing is final: a lost candidacy never leads again. Enter a new one.
* Every method is bounded in time. An unreachable coordinator is `CoordinatorUnavailable`, not a hang.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from middleman.ports.errors import CandidacyLost, CoordinatorMisconfigured, CoordinatorUnavailable
from middleman.ports.trust import Trust

__all__ = [
    "Candidacy",
    "CandidacyLost",
    "Coordinator",
    "CoordinatorMisconfigured",
    "CoordinatorUnavailable",
    "Election",
    "LeaderRecord",
]


@dataclass(frozen=True, slots=True)
class Election:
    """A won election: the coordinator's name for it, and the lease that carries it.

    ``vacant_s`` is when this candidate noticed that the leader before it was gone, on ``CLOCK_BOOTTIME``; None when
    it found the office vacant. For measuring only.
    """

    revision: int
    lease_id: int
    vacant_s: float | None = None


@dataclass(frozen=True, slots=True)
class LeaderRecord:
    """Who holds a scope's election key, as the coordinator knows it."""

    candidate: str
    revision: int
    lease_id: int


class Candidacy(Protocol):
    """One lease and one try for one scope's leadership, from entering to winning to losing."""

    @property
    def trust(self) -> Trust:
        """How long this candidate may act on its lease; a live view."""
        ...

    async def elected(self) -> Election:
        """Wait until the election key is ours.

        Raises:
            CandidacyLost: the candidacy ended before it was won.
        """
        ...

    async def lost(self) -> str:
        """Wait until the lease, the trust or the key is lost, and return the reason. Final.

        It returns by the moment at which trust runs out, whatever the coordinator does.
        """
        ...

    async def still_elected(self) -> bool:
        """Read the election key once, linearizably: is it still the one that we won?

        ``False`` also when trust has run out or the coordinator cannot tell in time: the caller
        resigns in all of these cases.
        """
        ...

    async def resign(self) -> None:
        """Give up the lease at once, so that a successor leads within milliseconds.

        Idempotent and bounded; when the coordinator is away the lease expires by itself. Trust ends
        before the request is sent, so nothing may be charged from here on.
        """
        ...


class Coordinator(Protocol):
    """Elections on one coordination service."""

    def candidacy(self, scope: int, candidate: str) -> AbstractAsyncContextManager[Candidacy]:
        """Stand for leadership of ``scope`` under the unique name ``candidate``.

        Entering obtains a lease, which is kept alive until the exit; the exit resigns.

        Raises:
            CoordinatorUnavailable: on entering, when no lease could be obtained in time.
            CoordinatorMisconfigured: on entering, when the service refuses us. A refusal that
                shows only later ends the candidacy and is the reason of its loss.
        """
        ...

    async def leader(self, scope: int) -> LeaderRecord | None:
        """Who holds the scope's election key now (linearizable), or ``None``.

        Raises:
            CoordinatorUnavailable: no quorum answered in time.
        """
        ...

    async def revoke(self, lease_id: int) -> bool:
        """Revoke exactly this lease, and with it the election key that it carries.

        For a follower that *knows* the leader's process is gone (DESIGN §2.11). ``False`` when
        the lease was already gone. A wrong suspicion costs one needless failover and nothing else.

        Raises:
            CoordinatorUnavailable: no quorum answered in time; the lease expires by itself.
        """
        ...

    async def check(self) -> None:
        """Readiness: a quorum answers, and its timing allows our lease.

        Raises:
            CoordinatorUnavailable: no quorum answered in time.
            CoordinatorMisconfigured: credentials are refused, or the service's shortest lease is
                longer than the one we are configured for.
        """
        ...

    async def close(self) -> None:
        """Close every connection. Idempotent; candidacies must have been left before."""
        ...
