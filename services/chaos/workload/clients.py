"""What a client does: comes and subscribes, cancels, looks."""

import random
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chaos.demo.population import PlanDraft, SubscriberDraft
from chaos.workload.book import Book
from chaos.workload.figures import Figures
from chaos.workload.population import any_time
from chaos.workload.sending import NoAnswerError, RefusedError, Sender

PATIENCE_S = 120.0
"""Longer than any outage that a scenario makes, and bounded: who waits holds a place in the workload."""
_LISTS = (
    "/v1/subscriptions?limit=20",
    "/v1/invoices?limit=20",
    "/v1/customers?limit=20",
    "/v1/events?limit=20",
)


@dataclass(frozen=True, slots=True)
class Clients:
    """Acts for all of them; each act notes in the book what it asks for, and what was acknowledged."""

    sender: Sender
    book: Book
    figures: Figures
    dice: random.Random
    drafts: Iterator[SubscriberDraft]
    plan_ids: Sequence[str]

    async def come(self, anchor: datetime | None = None) -> None:
        """A new customer with one subscription, which begins at `anchor` or now. Raises as `Sender.post` does."""
        draft = next(self.drafts)
        client = self.book.comes(draft, self.plan_ids[draft.plan])
        wanted = {"email": draft.email, "payment_method": draft.payment_method}
        client.customer_id = (await self._post("/v1/customers", wanted))["id"]
        self.figures.created += 1
        wanted = {"customer_id": client.customer_id, "plan_id": client.plan_id, "time_zone": draft.time_zone}
        if anchor is not None:
            wanted["anchor"] = anchor.isoformat(timespec="seconds")
        answer = await self._post("/v1/subscriptions", wanted)
        self.book.subscribes(client, answer["id"])
        self.figures.subscribed += 1

    async def leave(self) -> None:
        """Somebody cancels. Raises as `Sender.post` does."""
        client = self.book.anyone(self.dice)
        if client is None:
            return
        self.book.leaves(client)  # at once: nobody else shall cancel for them
        client.cancel = any_time(self.dice)
        answer = await self._post(f"/v1/subscriptions/{client.subscription_id}/cancel", {"at": client.cancel})
        client.told_ends_at = datetime.fromisoformat(answer["ends_at"])
        self.figures.canceled += 1

    async def look(self) -> None:
        """Somebody looks at their subscription, which dunning may have ended, or at a list."""
        client = self.book.anyone(self.dice)
        if client is None or self.dice.random() < 0.5:
            await self.sender.get(self.dice.choice(_LISTS), patience_s=PATIENCE_S)
            self.figures.listed += 1
            return
        seen = await self.sender.get(f"/v1/subscriptions/{client.subscription_id}", patience_s=PATIENCE_S)
        self.figures.read += 1
        if seen["status"] == "canceled" and client.cancel is None:
            self.book.leaves(client)
            self.figures.ended += 1

    async def something(self, wanted: int) -> None:
        """One act, so that about `wanted` subscribe; a refusal goes into the book, an answer that stays away too."""
        more = self.book.subscribed < wanted
        came, left = (0.3, 0.45) if more else (0.15, 0.45)
        drawn = self.dice.random()
        try:
            if drawn < came and not self.book.full:
                await self.come()
            elif drawn < left:
                await self.leave()
            else:
                await self.look()
        except RefusedError as refusal:
            self.figures.refused += 1
            self.book.refused(str(refusal))
        except NoAnswerError as silence:
            self.figures.gave_up += 1
            self.book.unanswered(str(silence))

    async def offer(self, plan: PlanDraft) -> str:
        """Create a plan; returns its id. Raises as `Sender.post` does."""
        wanted = {
            "name": plan.name,
            "amount_minor": plan.amount_minor,
            "currency": plan.currency,
            "interval": {"unit": plan.interval_unit, "count": plan.interval_count},
        }
        return str((await self._post("/v1/plans", wanted))["id"])

    async def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self.sender.post(path, body, str(uuid.uuid4()), patience_s=PATIENCE_S)
