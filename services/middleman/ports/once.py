"""Remembering answers, so that a repeated request gets the first answer instead of a second effect."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

ProcessorStep = Literal["customer", "attach"]
"""A call to the processor on behalf of a request, each under numbered keys of its own."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """One request, named by its caller: the key counts per API key, both digests are over method, path and body.

    `request_sha256` takes the body's bytes, `canonical_sha256` the JSON document in them: the order of names, spaces
    and spellings of one number make no difference. Either of them shows a repeat.
    """

    api_key_id: str
    key: str
    request_sha256: bytes
    canonical_sha256: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller is told. `replayed`: it was told before."""

    status: int
    body: bytes
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Reservation:
    """A request's own for a while: the id under which it makes its resource, and until when nobody else may resume.

    The numbers say which of the request's keys at the processor are in use.
    """

    resource_id: str
    held_until: datetime
    customer_key_no: int = 1
    attach_key_no: int = 1


class TicketReused(Exception):
    """The key came before, with another method, path or body: use a fresh key for a new request."""


class TicketInUse(Exception):
    """The first request under this key is still at work: repeat this one in a moment."""


class TicketWork(Protocol):
    """The statements on tickets, inside a transaction."""

    async def reserve(self, ticket: Ticket, resource_id: str, hold_s: float) -> Reservation | Answer:
        """The reservation with the id under which the request makes its resource, or the answer that was already given.

        The id is `resource_id` for the first request and stays the same for every one that resumes it.
        The reservation is the request's own for `hold_s` seconds.

        Raises:
            TicketReused: the key belongs to another request.
            TicketInUse: another request with this ticket is still at work.
        """
        ...

    async def recall(self, ticket: Ticket) -> Answer | None:
        """The answer already given, holding the ticket until the transaction ends; None while there is none."""
        ...

    async def remember(self, ticket: Ticket, answer: Answer) -> None:
        """Keep the answer of a reserved ticket."""
        ...

    async def use_key_no(self, ticket: Ticket, step: ProcessorStep, key_no: int) -> int:
        """Record that the step's key of this number is used from now on; returns the number, which never goes down."""
        ...

    async def release(self, ticket: Ticket, reservation: Reservation) -> None:
        """Let a repeat resume at once: this request ended without an answer worth keeping.

        Nothing happens where the hold had run out and somebody else has resumed: the hold is theirs then.
        """
        ...

    async def withdraw(self, ticket: Ticket, reservation: Reservation) -> None:
        """Delete the reservation: the key belongs to another request after all. Nothing happens as with `release`."""
        ...
