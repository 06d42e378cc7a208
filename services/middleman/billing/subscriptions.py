"""Subscriptions: beginning and ending them. What falls due is the leader's business."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from middleman.billing.once import Once, Render
from middleman.domain.ids import CustomerId, PlanId, SubscriptionId
from middleman.ports.accounts import AccountsTransaction, NewSubscription, Subscription
from middleman.ports.once import Answer, Ticket


@dataclass(frozen=True, slots=True)
class SubscriptionRequest:
    """`anchor`: an aware instant, a naive wall-clock time in `time_zone`, or None for business time now."""

    customer_id: CustomerId
    plan_id: PlanId
    anchor: datetime | None
    time_zone: str
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Subscriptions:
    """Begin and end subscriptions. The row's lock orders every ending against the leader's claims."""

    once: Once

    async def create(
        self, request: SubscriptionRequest, ticket: Ticket | None, render: Render[Subscription]
    ) -> Answer:
        """The first billing period begins at the anchor and is due then. Raises UnknownReference,
        PlanArchived, AnchorRefused (the first period must still run, and begin within ten years).
        """

        async def effect(transaction: AccountsTransaction, subscription_id: str) -> Subscription:
            return await transaction.add_subscription(
                NewSubscription(
                    SubscriptionId(subscription_id),
                    request.customer_id,
                    request.plan_id,
                    request.anchor,
                    request.time_zone,
                    request.metadata,
                )
            )

        return await self.once.atomically(ticket, "sub_", effect, render)

    async def cancel(
        self,
        subscription_id: SubscriptionId,
        at: Literal["now", "period_end"],
        ticket: Ticket | None,
        render: Render[Subscription],
    ) -> Answer:
        """End it now, or with the billing period that is running. Raises NoSuchRecord.

        Every period that fell due before the end is still billed; none after. An end never moves later.
        """
        return await self.once.atomically(
            ticket,
            "scr_",
            lambda transaction, _: transaction.end_subscription(subscription_id, at),
            render,
        )
