"""Brings the crowd in over the REST API, several at a time, while charging already goes on."""

import asyncio
import contextlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from chaos.demo.figures import Figures
from chaos.demo.population import CancelAt, SubscriberDraft, plans
from chaos.demo.rest_client import RestClient

MAX_REGRET_S = 10.0


@dataclass(frozen=True, slots=True)
class Regret:
    """Somebody who will cancel; `at_s` on the event loop's clock."""

    at_s: float
    subscription_id: str
    when: CancelAt


@dataclass(frozen=True, slots=True)
class Doors:
    """`closing` is set by who wants no more subscribers, `everybody_in` when the last has subscribed."""

    closing: asyncio.Event = field(default_factory=asyncio.Event)
    everybody_in: asyncio.Event = field(default_factory=asyncio.Event)


async def offer_plans(client: RestClient) -> list[str]:
    """Create every plan; their ids in the order of `population.plans()`."""
    return list(await asyncio.gather(*(client.create_plan(plan) for plan in plans())))


async def bring_in(
    client: RestClient,
    plan_ids: Sequence[str],
    drafts: Iterator[SubscriberDraft],
    figures: Figures,
    *,
    workers: int,
    doors: Doors,
) -> None:
    """Subscribe all of them; some cancel a little later. Raises `RestError`.

    Returns when the last has, or, once the doors are closing, when the requests under way are answered: no
    request may take effect after the caller believes that everybody is in.
    """
    regrets: asyncio.Queue[Regret | None] = asyncio.Queue()
    canceling = asyncio.create_task(_cancel(client, regrets, figures, doors.closing))
    subscribing = [
        asyncio.create_task(_subscribe(client, plan_ids, drafts, figures, regrets, doors.closing))
        for _ in range(workers)
    ]
    try:
        await asyncio.gather(*subscribing)
        doors.everybody_in.set()
        regrets.put_nowait(None)
        await canceling
    finally:
        for task in (canceling, *subscribing):
            task.cancel()


async def _subscribe(
    client: RestClient,
    plan_ids: Sequence[str],
    drafts: Iterator[SubscriberDraft],
    figures: Figures,
    regrets: "asyncio.Queue[Regret | None]",
    closing: asyncio.Event,
) -> None:
    loop = asyncio.get_running_loop()
    for draft in drafts:  # one iterator shared by all workers: each takes the next
        if closing.is_set():
            return
        customer_id = await client.create_customer(draft)
        figures.customers += 1
        subscription_id = await client.subscribe(customer_id, plan_ids[draft.plan], draft.time_zone)
        figures.declines[subscription_id] = draft.declines
        if draft.cancels is not None:
            dice = random.Random(draft.number)  # noqa: S311  # repeatable on purpose
            regrets.put_nowait(
                Regret(loop.time() + dice.uniform(0, MAX_REGRET_S), subscription_id, draft.cancels)
            )


async def _cancel(
    client: RestClient, regrets: "asyncio.Queue[Regret | None]", figures: Figures, closing: asyncio.Event
) -> None:
    loop = asyncio.get_running_loop()
    while (regret := await regrets.get()) is not None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(regret.at_s):
                await closing.wait()
        if loop.time() < regret.at_s:
            continue  # closing: they change their minds too late
        await client.cancel(regret.subscription_id, regret.when)
        figures.canceled += 1
