"""Debts are paid behind the product's back, and the tidings come twice, late, backwards, forged, and as lies."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from chaos.drive.record import Fault
from chaos.drive.stage import Skipped, Stage
from chaos.faults.processes import frozen
from chaos.faults.rules import SANDBOX
from chaos.scenarios.doubt import observe_no_double
from chaos.scenarios.postman import Event, Postman, forgeries, lie
from chaos.scenarios.writes import Write, Writes, email, subscription

DEBTS = 8
COPIES = 3
LATE_S = 2.0
_CARD = "pm_card_authenticationRequired"

_PLAN = "SELECT id FROM plans WHERE active AND interval_unit = 'day' ORDER BY id LIMIT 1"
_WAITING = """
    SELECT payment_intent_id FROM invoices
    WHERE subscription_id = ANY($1) AND period_no = 0 AND status = 'requires_action'
"""
_STATUS = "SELECT status, count(*) FROM invoices WHERE payment_intent_id = ANY($1) GROUP BY 1 ORDER BY 1"
_PAID_ONCE = """
    SELECT count(*) FROM invoices i
    WHERE payment_intent_id = ANY($1) AND status = 'paid' AND 1 = (
        SELECT count(*) FROM payment_attempts t WHERE t.invoice_id = i.id AND t.status = 'succeeded')
"""
_FILED = "SELECT count(*) FROM processor_notices WHERE event_id = ANY($1)"
_LOOKED_INTO = "SELECT count(*) FROM processor_notices WHERE event_id = $1 AND handled_at IS NOT NULL"
_UNTOUCHED = """
    SELECT count(*) FROM invoices
    WHERE payment_intent_id = $1 AND status = 'requires_action' AND attempt_count = 1
"""


async def webhooks_disordered(stage: Stage) -> None:
    """Customers pay at the processor while every API is frozen; then a postman of ours has his day."""
    if not stage.target.access.webhook_secret:
        raise Skipped(
            "the secret that signs webhooks is not at hand: start the stack anew, so that `init` makes one"
        )
    *intents, unpaid = await _waiting_for_their_customers(stage)
    async with Postman(stage.target.access) as postman:
        async with AsyncExitStack() as asleep:
            # Where the sandbox delivers by itself, it finds nobody before we have looked.
            for name in stage.target.apis:
                await asleep.enter_async_context(frozen(stage, name))
            paid = await asleep.enter_async_context(stage.fault("paid-elsewhere", SANDBOX, intents=DEBTS))
            there = [await postman.pay(intent) for intent in intents]
            here = {row[0]: row[1] for row in await stage.eyes.fetch(_STATUS, intents)}
            stage.observe(
                "they are paid at the processor, and nobody here knows",
                there == ["succeeded"] * DEBTS and here == {"requires_action": DEBTS},
                f"{there.count('succeeded')} succeeded there; here {here}",
                paid,
            )
        events = await postman.events(intents)
        async with stage.fault("webhooks", ",".join(stage.target.apis), events=DEBTS, copies=COPIES) as fault:
            await _observe_forgeries_refused(stage, postman, events, fault)
            await _deliver(stage, postman, events, fault)
            await _expect_paid_once(stage, intents, fault)
            await _observe_filed_once(stage, postman, events, fault)
            await _observe_lie_found_out(stage, postman, events[0], unpaid, fault)
    await observe_no_double(stage, paid, fault)


async def _waiting_for_their_customers(stage: Stage) -> list[str]:
    """The intents of debts whose customers have to authenticate; one more than are going to be paid."""
    async with Writes(stage.target.access) as writes:
        url = writes.urls[-1]
        wanted = [
            Write("/v1/customers", {"email": email(stage), "payment_method": _CARD}) for _ in range(DEBTS + 1)
        ]
        people = await writes.all(url, wanted)
        plan_id = await stage.eyes.value(_PLAN)
        subscribed = await writes.all(url, [subscription(each.id, plan_id) for each in people])
        ids = [each.id for each in subscribed]

        async def look() -> list[str] | None:
            found = [row[0] for row in await stage.eyes.fetch(_WAITING, ids)]
            return found if len(found) == len(ids) else None

        intents = await stage.expect(
            "debts wait for their customers to authenticate", look, tell=lambda found: f"{len(found)} wait"
        )
        # One period each is enough; and a canceled subscription is to stay canceled, whatever is paid late.
        await writes.all(url, [Write(f"/v1/subscriptions/{each}/cancel", {"at": "now"}) for each in ids])
    return intents


async def _observe_forgeries_refused(
    stage: Stage, postman: Postman, events: Sequence[Event], fault: Fault
) -> None:
    forged = [each for event in events for each in forgeries(event, postman.secret)]
    answers = await asyncio.gather(*(postman.hand_over(each, url) for each in forged for url in postman.urls))
    filed = await stage.eyes.value(_FILED, [each.event_id for each in forged])
    stage.observe(
        "whatever is forged, stale or changed is refused with 400, and nothing of it is kept",
        set(answers) == {400} and filed == 0,
        f"{len(answers)} answered {sorted(set(answers), key=str)}, {filed} kept",
        fault,
    )


async def _deliver(stage: Stage, postman: Postman, events: Sequence[Event], fault: Fault) -> None:
    """Late, the last first, each several times, some of them at two instances at the same moment."""
    await asyncio.sleep(LATE_S)
    answers = []
    for copy in range(COPIES):
        order = list(reversed(events))
        if copy:
            stage.dice.shuffle(order)
        urls = [postman.urls[(copy + number) % len(postman.urls)] for number in range(len(order))]
        sent = zip(order, urls, strict=True)
        answers += await asyncio.gather(
            *(postman.deliver(event, url) for event, url in sent),
            *(postman.deliver(event, postman.urls[-1]) for event in order[: DEBTS // 2]),
        )
    stage.observe(
        "every true one is taken, however often it comes",
        set(answers) == {200},
        f"{len(answers)} deliveries of {len(events)} events answered {sorted(set(answers))}",
        fault,
    )


async def _expect_paid_once(stage: Stage, intents: Sequence[str], fault: Fault) -> None:
    async def look() -> int | None:
        paid: int = await stage.eyes.value(_PAID_ONCE, intents)
        return paid if paid == len(intents) else None

    await stage.expect(
        "every debt is paid here, by exactly one attempt", look, fault, tell=lambda paid: f"{paid} paid"
    )


async def _observe_filed_once(stage: Stage, postman: Postman, events: Sequence[Event], fault: Fault) -> None:
    again = await asyncio.gather(*(postman.deliver(event, postman.urls[0]) for event in events))
    filed = await stage.eyes.value(_FILED, [event.event_id for event in events])
    stage.observe(
        "each event was filed once, and is taken once more when all is settled",
        filed == len(events) and set(again) == {200},
        f"{filed} filed for {len(events)} events, the last repeats answered {sorted(set(again))}",
        fault,
    )


async def _observe_lie_found_out(
    stage: Stage, postman: Postman, pattern: Event, unpaid: str, fault: Fault
) -> None:
    """Who has the secret can lie: the leader looks, sees that nothing was paid, and touches nothing."""
    told = lie(pattern, unpaid)
    answer = await postman.deliver(told, postman.urls[0])

    async def look() -> Any:
        return await stage.eyes.value(_LOOKED_INTO, told.event_id) or None

    await stage.expect("a lie under the right signature is looked into", look, fault, tell=lambda _: "it is")
    untouched = await stage.eyes.value(_UNTOUCHED, unpaid)
    stage.observe(
        "and nothing comes of it: no status, no attempt",
        answer == 200 and untouched == 1,
        "untouched" if untouched else "changed",
        fault,
    )
