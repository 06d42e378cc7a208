"""What the clients asked for, and what of it was acknowledged: the yardstick of `findings`."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from chaos.demo.population import CancelAt, SubscriberDraft

MAX_CLIENTS = 50_000
"""Nobody comes any more after so many, which bounds the memory of a run."""
MAX_REFUSALS = 20


@dataclass(slots=True, eq=False)
class Client:
    """One subscriber: an id, or the end that was told, is there once it was acknowledged, and None before."""

    draft: SubscriberDraft
    plan_id: str
    customer_id: str | None = None
    subscription_id: str | None = None
    cancel: CancelAt | None = None
    told_ends_at: datetime | None = None

    @property
    def email(self) -> str:
        """What every row of this client's is found by."""
        return self.draft.email


@dataclass(slots=True)
class Book:
    """Everybody who ever asked for anything, those of them who subscribe now, and whose asking came to nothing."""

    clients: dict[str, Client] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    silences: list[str] = field(default_factory=list)
    _subscribed: list[Client] = field(default_factory=list)

    def __iter__(self) -> Iterator[Client]:
        return iter(self.clients.values())

    @property
    def full(self) -> bool:
        """Whether nobody may come any more."""
        return len(self.clients) >= MAX_CLIENTS

    @property
    def subscribed(self) -> int:
        """How many subscribe, as far as they know."""
        return len(self._subscribed)

    def comes(self, draft: SubscriberDraft, plan_id: str) -> Client:
        """Somebody new is about to ask."""
        client = self.clients[draft.email] = Client(draft, plan_id)
        return client

    def subscribes(self, client: Client, subscription_id: str) -> None:
        """Acknowledged."""
        client.subscription_id = subscription_id
        self._subscribed.append(client)

    def anyone(self, dice: random.Random) -> Client | None:
        """One who subscribes."""
        return dice.choice(self._subscribed) if self._subscribed else None

    def leaves(self, client: Client) -> None:
        """Does not count among those who subscribe any more."""
        if client in self._subscribed:
            self._subscribed.remove(client)

    def refused(self, why: str) -> None:
        """A definite refusal; the first few are kept in words."""
        if len(self.refusals) < MAX_REFUSALS:
            self.refusals.append(why)

    def unanswered(self, why: str) -> None:
        """A request whose definite answer stayed away for longer than any outage; the first few are kept in words."""
        if len(self.silences) < MAX_REFUSALS:
            self.silences.append(f"no answer to {why}")
