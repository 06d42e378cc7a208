"""Taking office: where an election that was won becomes a term."""

from __future__ import annotations

from typing import Protocol

from middleman.ports.term import Term

DRAINED = "stopped"
"""The reason of a term whose pipeline had drained and stopped: it holds nothing in the database any more."""


class Office(Protocol):
    """The fence's keeper, implemented on the database (DESIGN §2.2)."""

    async def take_office(self, scope: int, holder: str, election_revision: int) -> Term:
        """End the previous holder's database sessions, raise the fence, return the new term.

        Nothing may be charged before this has committed. The caller bounds it by its trust and
        cancels it when that runs out; a fence raised by a cancelled call costs one needless change
        of term and nothing else.

        Raises:
            OfficeUnavailable: the database could not be reached or did not answer in time.
        """
        ...

    async def leave(self, term: Term, reason: str) -> None:
        """Record that ``term`` ended and why. Best effort: the fence does not depend on it.

        Raises:
            OfficeUnavailable: the database could not be reached or did not answer in time.
            StaleTerm: a later term has begun meanwhile.
        """
        ...
