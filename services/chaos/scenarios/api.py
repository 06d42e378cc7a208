"""Group 7: instances of the API die and freeze while clients write, and clients repeat at another one."""

import asyncio
from collections.abc import Sequence

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Need
from chaos.faults.processes import ended_by, frozen, killed, was_killed
from chaos.faults.rules import misbehaving, slow
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.writes import (
    Answer,
    Write,
    Writes,
    customer,
    email,
    observe_one_customer_each,
    observe_one_subscription_each,
    subscription,
)

CUSTOMERS = 36
ACKNOWLEDGED = 2
HELD = 3
"""Customers whose creation is under way, on both sides, when the instance goes."""
HELD_S = 2.0
RESUMED_WITHIN_S = 45.0
"""A request that died in the middle holds its key for thirty seconds."""
FROZEN_S = 1.0
PAIRS = 12

_PLAN = "SELECT id FROM plans WHERE active AND interval_unit = 'day' ORDER BY id LIMIT 1"
_RESERVED = "SELECT count(*) FROM api_idempotency_keys WHERE key = ANY($1) AND response_status IS NULL"


async def killed_while_clients_write(stage: Stage) -> None:
    """SIGKILL between acknowledgements; everybody repeats everything at the other instance."""
    first, second = stage.target.apis[:2]
    async with Writes(stage.target.access) as writes:
        subscribing = await _subscribing(stage, writes)
        held = [customer(email(stage)) for _ in range(HELD)]
        async with misbehaving(stage, slow(HELD_S, HELD_S), operation="customers.create") as slowed:
            creating = [writes.begin(writes.urls[0], each) for each in held]
            await _expect_reserved(stage, held, slowed.fault)
            burst = await _burst(writes, subscribing)
            async with killed(stage, first) as fault:
                is_dead = was_killed(stage.target, first)
                stage.observe(f"{first} died by SIGKILL", is_dead, ended_by(stage.target, first), fault)
                answers = await asyncio.gather(*burst, *creating)
                _observe_cut(stage, answers, fault)
                again = await writes.all(writes.urls[1], subscribing)
                _observe_same(
                    stage, f"{second} says what {first} had acknowledged", answers[: len(again)], again, fault
                )
                await observe_one_subscription_each(stage, subscribing, again, fault)
        made = await writes.all(writes.urls[1], held, RESUMED_WITHIN_S)
        await observe_one_customer_each(stage, held, made, fault)


async def frozen_while_clients_write(stage: Stage) -> None:
    """Frozen between acknowledgements; everybody repeats at the other one, and then the first one wakes."""
    first, second = stage.target.apis[:2]
    async with Writes(stage.target.access) as writes:
        subscribing = await _subscribing(stage, writes)
        burst = await _burst(writes, subscribing)
        async with frozen(stage, first) as fault:
            await asyncio.sleep(FROZEN_S)
            again = await writes.all(writes.urls[1], subscribing)
            silent = sum(not each.done() for each in burst)
            stage.observe(
                f"{second} answers every write, also those that {first} is frozen over",
                stage.target.is_paused(first) and silent > 0,
                f"{len(again)} answered, {silent} of them silent at {first}",
                fault,
            )
        late = await asyncio.gather(*burst)
        _observe_same(stage, f"{first}, awake again, says what {second} said", late, again, fault)
        await observe_one_subscription_each(stage, subscribing, again, fault)


async def same_key_at_two_instances(stage: Stage) -> None:
    """The same request at both at once, then again at each, then another one under the same key."""
    async with Writes(stage.target.access) as writes:
        async with stage.fault("same-key-twice", ",".join(stage.target.apis), pairs=PAIRS) as fault:
            creating = [customer(email(stage)) for _ in range(PAIRS)]
            created = await _at_both(stage, writes, creating, fault)
            plan_id = await stage.eyes.value(_PLAN)
            subscribing = [subscription(each.id, plan_id) for each in created]
            subscribed = await _at_both(stage, writes, subscribing, fault)
            for url in writes.urls[:2]:
                again = await writes.all(url, [*creating, *subscribing])
                _observe_same(stage, "repeating gets the first answer", [*created, *subscribed], again, fault)
                await _observe_other_refused(stage, writes, url, creating, fault)
        await observe_one_customer_each(stage, creating, created, fault)
        await observe_one_subscription_each(stage, subscribing, subscribed, fault)


async def _subscribing(stage: Stage, writes: Writes) -> list[Write]:
    """Subscriptions about to be asked for, each by a customer of its own."""
    people = await writes.all(
        writes.urls[1], [customer(email(stage)) for _ in range(CUSTOMERS)], RESUMED_WITHIN_S
    )
    plan_id = await stage.eyes.value(_PLAN)
    return [subscription(each.id, plan_id) for each in people]


async def _burst(writes: Writes, wanted: Sequence[Write]) -> "list[asyncio.Task[Answer | None]]":
    """All of them at the first instance at once; returns as soon as some are acknowledged."""
    burst = [writes.begin(writes.urls[0], each) for each in wanted]
    answered = 0
    for each in asyncio.as_completed(burst):
        answered += await each is not None
        if answered >= ACKNOWLEDGED:
            break
    return burst


async def _expect_reserved(stage: Stage, held: Sequence[Write], fault: Fault) -> None:
    keys = [each.key for each in held]

    async def look() -> int | None:
        reserved: int = await stage.eyes.value(_RESERVED, keys)
        return reserved if reserved == len(keys) else None

    await stage.expect(
        "customers are half made: their keys are reserved, and the processor takes its time",
        look,
        fault,
        tell=lambda reserved: f"{reserved} reserved",
    )


async def _at_both(stage: Stage, writes: Writes, wanted: Sequence[Write], fault: Fault) -> list[Answer]:
    """The same requests at both instances at once; the answers, after noting that both got the same ones."""
    one, other = await asyncio.gather(*(writes.all(url, wanted) for url in writes.urls[:2]))
    _observe_same(stage, f"both get the same answer to POST {wanted[0].path}", one, other, fault)
    replayed = sum(answer.replayed for answer in (*one, *other))
    stage.observe(
        "of each two one did it, and the other was told",
        replayed == len(wanted),
        f"{replayed} of {2 * len(wanted)} answers were repeats",
        fault,
    )
    return one


def _observe_cut(stage: Stage, answers: Sequence[Answer | None], fault: Fault) -> None:
    cut = sum(answer is None for answer in answers)
    stage.observe(
        "some writes were acknowledged, and some were cut off",
        0 < cut < len(answers),
        f"{len(answers) - cut} acknowledged, {cut} cut off",
        fault,
    )


def _observe_same(
    stage: Stage, expected: str, told: Sequence[Answer | None], again: Sequence[Answer], fault: Fault
) -> None:
    """Every definite answer there is equals the one here."""
    pairs = [
        (one, other) for one, other in zip(told, again, strict=True) if one is not None and one.is_definite
    ]
    differing = sum((one.status, one.content) != (other.status, other.content) for one, other in pairs)
    stage.observe(
        expected, bool(pairs) and not differing, f"{len(pairs)} compared, {differing} differ", fault
    )


async def _observe_other_refused(
    stage: Stage, writes: Writes, url: str, used: Sequence[Write], fault: Fault
) -> None:
    others = [Write(each.path, {**each.body, "name": "Somebody else"}, each.key) for each in used]
    statuses = {answer.status for answer in await writes.all(url, others)}
    stage.observe("another request under a used key is refused", statuses == {422}, f"{statuses}", fault)


_GROUP = "api"
_NEEDS = frozenset({Need.SECOND_API})

API: tuple[Scenario, ...] = (
    Scenario(
        name="api-killed-mid-write",
        group=_GROUP,
        shows="An instance dies while clients write: what it acknowledged is there, what they repeat is there once.",
        play=killed_while_clients_write,
        needs=_NEEDS,
        limit_s=120.0,
    ),
    Scenario(
        name="api-frozen-mid-write",
        group=_GROUP,
        shows="An instance freezes while clients write: they repeat elsewhere, and waking up it does nothing twice.",
        play=frozen_while_clients_write,
        needs=_NEEDS,
    ),
    Scenario(
        name="api-same-key-elsewhere",
        group=_GROUP,
        shows="The same key at two instances at once has one effect and one answer; another body under it is refused.",
        play=same_key_at_two_instances,
        needs=_NEEDS,
    ),
)
