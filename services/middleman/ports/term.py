"""A term: one continuous leadership of one replica, as a value that is passed along."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Term:
    """Proof of having taken office, handed to everything that charges (DESIGN §2.2).

    ``number`` is the fencing token that Postgres handed out. ``uid`` is random, because an
    asynchronous database failover can forget a term and hand its number out again (DESIGN §2.9);
    the fence compares both. ``election_revision`` is the coordinator's name for the election that
    was won, kept for the record: it is not the fence, since it can go back after a restore.
    """

    number: int
    uid: UUID
    scope: int
    holder: str
    election_revision: int

    def __post_init__(self) -> None:
        if self.number < 1:
            raise ValueError(f"a term's number starts at 1, got {self.number}")
        if not self.holder:
            raise ValueError("a term needs the name of the replica that holds it")
