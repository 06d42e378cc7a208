"""What falls due all the time: daily subscriptions, spread evenly over the day, on a fast test clock."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta

from chaos.demo.population import PlanDraft, SubscriberDraft
from chaos.demo.rest_client import RestClient
from chaos.failover.plan import DAY_S, Plan

WORKERS = 8
_PLAN = PlanDraft("daily", 499, "EUR", "day", 1)
_CARD = "pm_card_visa"  # never declines: a retry would fall due days later and blur nothing, but help nobody


async def open_business(client: RestClient, plan: Plan) -> None:
    """Subscribe everybody while the clock stands, then let it run. Raises `RestError`."""
    clock = await client.post("/v1/test_clock", {"advance_s": 0, "rate": 0})
    opens = datetime.fromisoformat(clock["business_now"])
    plan_id = await client.create_plan(_PLAN)
    anchors = iter(list(enumerate(spread_over_a_day(opens, plan.subscriptions))))
    await asyncio.gather(*(_subscribe(client, plan_id, anchors) for _ in range(WORKERS)))
    await client.set_test_clock(rate=plan.clock_rate)


def spread_over_a_day(opens: datetime, count: int) -> Iterator[datetime]:
    """Evenly spaced instants, the first one step after `opens`."""
    for number in range(1, count + 1):
        yield opens + timedelta(seconds=DAY_S * number / count)


async def _subscribe(client: RestClient, plan_id: str, anchors: Iterator[tuple[int, datetime]]) -> None:
    for number, anchor in anchors:  # one iterator shared by all workers: each takes the next
        draft = SubscriberDraft(number, f"subscriber-{number}@example.com", _CARD, 0, "UTC", None)
        customer_id = await client.create_customer(draft)
        await client.post(
            "/v1/subscriptions",
            {"customer_id": customer_id, "plan_id": plan_id, "anchor": anchor.isoformat(timespec="seconds")},
        )
