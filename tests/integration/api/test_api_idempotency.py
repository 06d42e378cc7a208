"""One key, one effect, one answer: from any instance, at once or later, through a death in the middle."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from tests.integration.api.conftest import CUSTOMER, PLAN, ApiWorld
from tests.support.fake_processor import Fault, Operation

from middleman.adapters.system_clock import SystemClock
from middleman.billing.forgetting import KEPT_S, forget_batch_by_batch
from middleman.ports.once import Ticket


async def count(world: ApiWorld, sql: str, *arguments: Any) -> int:
    async with world.database.connect() as owner:
        return int(await owner.fetchval(sql, *arguments))


async def test_the_same_key_and_body_get_the_same_answer_from_any_instance(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "same"}
    body = PLAN | {"name": "same"}
    first = await world.first.client.post("/v1/plans", json=body, headers=key)
    again = await world.second.client.post("/v1/plans", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await count(world, "SELECT count(*) FROM plans WHERE name = 'same'") == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/plans", PLAN | {"name": "another"}), ("/v1/test_clock", {"advance_s": 0})],
)
async def test_another_body_or_path_under_a_used_key_is_refused(
    world: ApiWorld, path: str, body: dict[str, Any]
) -> None:
    key = {"Idempotency-Key": "reused"}
    await world.client.post("/v1/plans", json=PLAN, headers=key)
    answer = await world.second.client.post(path, json=body, headers=key)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("/idempotency-key-reused")


async def test_a_key_belongs_to_its_api_key(world: ApiWorld) -> None:
    other = {"Authorization": f"Bearer {await world.key('read', 'write')}"}
    key = {"Idempotency-Key": "mine"}
    first = await world.client.post("/v1/plans", json=PLAN, headers=key)
    second = await world.client.post("/v1/plans", json=PLAN, headers=key | other)
    assert first.json()["id"] != second.json()["id"]


async def test_concurrent_repeats_at_two_instances_have_one_effect(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "at-once"}
    body = PLAN | {"name": "at once"}
    both = (world.first.client, world.second.client)
    answers = await asyncio.gather(
        *(both[n % 2].post("/v1/plans", json=body, headers=key) for n in range(16))
    )
    assert {answer.status_code for answer in answers} <= {201, 409}
    made = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in made}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in made) == 1
    assert await count(world, "SELECT count(*) FROM plans WHERE name = 'at once'") == 1


async def holding(world: ApiWorld) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the next customer's creation wait at the processor: events for "is there" and "go on"."""
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def wait(operation: Operation, _: object) -> None:
        if operation is Operation.CUSTOMER:
            world.processor.before_call = None
            arrived.set()
            await go_on.wait()

    world.processor.before_call = wait
    return arrived, go_on


async def test_a_repeat_while_the_first_waits_for_the_processor_is_409(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "in-flight"}
    arrived, go_on = await holding(world)
    first = asyncio.create_task(world.first.client.post("/v1/customers", json=CUSTOMER, headers=key))
    await asyncio.wait_for(arrived.wait(), 10)
    early = await world.second.client.post("/v1/customers", json=CUSTOMER, headers=key)
    go_on.set()
    answer = await first
    late = await world.second.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert early.status_code == 409
    assert early.headers["Retry-After"] == "1"
    assert answer.status_code == 201
    assert late.content == answer.content


async def test_a_request_whose_reservation_the_database_lost_is_undone_and_can_be_repeated(
    world: ApiWorld,
) -> None:
    """As after a failover between its two transactions. An effect without its answer would be made again."""
    key = {"Idempotency-Key": "lost"}
    arrived, go_on = await holding(world)
    first = asyncio.create_task(world.first.client.post("/v1/customers", json=CUSTOMER, headers=key))
    await asyncio.wait_for(arrived.wait(), 10)
    async with world.database.connect() as owner:
        await owner.execute("DELETE FROM api_idempotency_keys WHERE key = 'lost'")
    go_on.set()
    assert (await first).status_code == 503
    before = await count(world, "SELECT count(*) FROM customers")
    again = await world.second.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert again.status_code == 201
    assert await count(world, "SELECT count(*) FROM customers") == before + 1


async def expire_hold(world: ApiWorld, key: str) -> None:
    async with world.database.connect() as owner:
        await owner.execute("UPDATE api_idempotency_keys SET locked_until = now() WHERE key = $1", key)


async def test_a_request_whose_process_died_is_resumed_under_the_same_name(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "died"}
    arrived, _ = await holding(world)
    dying = asyncio.create_task(world.first.client.post("/v1/customers", json=CUSTOMER, headers=key))
    await asyncio.wait_for(arrived.wait(), 10)
    dying.cancel()  # like SIGKILL: nothing that the process would still do is done
    await asyncio.gather(dying, return_exceptions=True)
    reserved = "SELECT resource_id FROM api_idempotency_keys WHERE key = 'died'"
    async with world.database.connect() as owner:
        resource_id = await owner.fetchval(reserved)
    held = await world.second.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert held.status_code == 409
    await expire_hold(world, "died")
    resumed = await world.second.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert resumed.status_code == 201
    assert resumed.json()["id"] == resource_id


async def test_two_that_run_because_a_hold_ran_out_make_one_customer(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "overlap"}
    arrived, go_on = await holding(world)
    slow = asyncio.create_task(world.first.client.post("/v1/customers", json=CUSTOMER, headers=key))
    await asyncio.wait_for(arrived.wait(), 10)
    await expire_hold(world, "overlap")
    fast = await world.second.client.post("/v1/customers", json=CUSTOMER, headers=key)
    go_on.set()
    late = await slow
    assert (fast.status_code, late.status_code) == (201, 201)
    assert late.content == fast.content
    assert await count(world, "SELECT count(*) FROM customers WHERE id = $1", fast.json()["id"]) == 1


async def test_who_fails_late_does_not_let_a_third_in_beside_the_second(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "late-failure"}
    arrived, fail = await holding(world)
    slow = asyncio.create_task(world.first.client.post("/v1/customers", json=CUSTOMER, headers=key))
    await asyncio.wait_for(arrived.wait(), 10)
    await expire_hold(world, "late-failure")
    arrived, go_on = await holding(world)
    resumed = asyncio.create_task(world.second.client.post("/v1/customers", json=CUSTOMER, headers=key))
    await asyncio.wait_for(arrived.wait(), 10)
    world.processor.fail(Operation.ATTACH, Fault.NOT_SENT)
    fail.set()
    assert (await slow).status_code == 503
    third = await world.first.client.post("/v1/customers", json=CUSTOMER, headers=key)
    go_on.set()
    assert third.status_code == 409
    assert (await resumed).status_code == 201


async def test_a_refused_request_is_not_remembered(world: ApiWorld) -> None:
    key = {"Idempotency-Key": "refused"}
    unknown = {
        "customer_id": "cu_0000000000000000000000000x",
        "plan_id": (await world.made("/v1/plans", PLAN))["id"],
    }
    refused = await world.client.post("/v1/subscriptions", json=unknown, headers=key)
    assert refused.status_code == 422
    corrected = unknown | {"customer_id": (await world.made("/v1/customers", CUSTOMER))["id"]}
    assert (await world.client.post("/v1/subscriptions", json=corrected, headers=key)).status_code == 201


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "tab\tkey"])
async def test_a_key_that_is_not_1_to_255_visible_ascii_characters_is_refused(
    world: ApiWorld, key: str
) -> None:
    answer = await world.client.post("/v1/plans", json=PLAN, headers={b"Idempotency-Key": key.encode()})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "idempotency-key"


async def age(world: ApiWorld, prefix: str, by: timedelta) -> None:
    async with world.database.connect() as owner:
        await owner.execute(
            "UPDATE api_idempotency_keys SET created_at = now() - $2::interval WHERE starts_with(key, $1)",
            prefix,
            by,
        )


async def test_answers_are_forgotten_after_their_day_and_not_before(world: ApiWorld) -> None:
    for n in range(3):
        await world.made("/v1/plans", PLAN, **{"Idempotency-Key": f"old-{n}"})
        await world.made("/v1/plans", PLAN, **{"Idempotency-Key": f"young-{n}"})
    await age(world, "old-", timedelta(seconds=KEPT_S + 60))
    await age(world, "young-", timedelta(hours=24, minutes=1))
    assert await forget_batch_by_batch(world.first.parts.accounts, SystemClock()) == 3
    kept = "SELECT count(*) FROM api_idempotency_keys WHERE key ~ '^(old|young)-'"
    assert await count(world, kept) == 3


async def test_forgetting_deletes_no_more_than_its_batch(world: ApiWorld) -> None:
    async with world.database.connect() as owner:
        api_key_id = await owner.fetchval("SELECT id FROM api_keys LIMIT 1")
    for n in range(4):
        ticket = Ticket(api_key_id, f"batch-{n}", hashlib.sha256(b"").digest(), b"")
        await world.first.parts.accounts.transact(_reserving(ticket))
    await age(world, "batch-", timedelta(days=3))
    gone = [
        await world.first.parts.accounts.transact(lambda tx: tx.forget_tickets(2 * 86400, 3))
        for _ in range(2)
    ]
    assert gone == [3, 1]


def _reserving(ticket: Ticket) -> Callable[[Any], Awaitable[Any]]:
    return lambda transaction: transaction.reserve(ticket, "pl_x", 30.0)


ORDERED = '{"name": "F16", "amount_minor": 999, "currency": "EUR", "interval": {"unit": "month", "count": 1}}'


@pytest.mark.parametrize(
    ("again", "is_the_same"),
    [
        ('{"interval":{"count":1,"unit":"month"},"currency":"EUR","amount_minor":999,"name":"F16"}', True),
        (ORDERED.replace("F16", "\\u0046\\u0031\\u0036"), True),
        (ORDERED.replace("{", "{ \n\t", 1), True),
        (ORDERED.replace('"count": 1', '"count": "1"'), False),
        (ORDERED.replace("999", "998"), False),
        (ORDERED.replace('"F16"', '"F16", "metadata": {}'), False),
        (ORDERED.replace('"F16"', '"F16", "name": "F16"'), False),
    ],
)
async def test_the_same_document_written_differently_is_the_same_request(
    world: ApiWorld, again: str, is_the_same: bool
) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8), "Content-Type": "application/json"}
    first = await world.client.post("/v1/plans", content=ORDERED, headers=headers)
    second = await world.second.client.post("/v1/plans", content=again, headers=headers)
    assert first.status_code == 201
    if is_the_same:
        assert (second.status_code, second.content) == (201, first.content)
        assert second.headers["Idempotent-Replayed"] == "true"
    else:
        assert second.status_code == 422


async def test_one_number_has_many_spellings(world: ApiWorld) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8), "Content-Type": "application/json"}
    bodies = ['{"advance_s": 0}', '{"advance_s": 0.0}', '{"advance_s":0e3}']
    answers = [await world.client.post("/v1/test_clock", content=body, headers=headers) for body in bodies]
    assert [each.status_code for each in answers] == [200, 200, 200]
    assert len({each.content for each in answers}) == 1


async def test_a_body_with_a_name_twice_is_the_same_request_byte_for_byte(world: ApiWorld) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8), "Content-Type": "application/json"}
    twice = ORDERED.replace('"F16"', '"F15", "name": "F16"')
    answers = [await world.client.post("/v1/plans", content=twice, headers=headers) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 201]
    assert answers[0].content == answers[1].content
    reordered = twice.replace('"F15", "name": "F16"', '"F16", "name": "F15"')
    assert (await world.client.post("/v1/plans", content=reordered, headers=headers)).status_code == 422


async def test_an_answer_of_the_release_before_is_given_to_the_same_bytes(world: ApiWorld) -> None:
    key = secrets.token_hex(8)
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    first = await world.client.post("/v1/plans", content=ORDERED, headers=headers)
    before = hashlib.sha256(b"\0".join((b"POST", b"/v1/plans", ORDERED.encode()))).digest()
    async with world.database.connect() as owner:
        assert (
            await owner.fetchval("SELECT request_sha256 FROM api_idempotency_keys WHERE key = $1", key)
            == before
        )
        await owner.execute("UPDATE api_idempotency_keys SET canonical_sha256 = NULL WHERE key = $1", key)
    again = await world.client.post("/v1/plans", content=ORDERED, headers=headers)
    assert (again.status_code, again.content) == (201, first.content)
    other = ORDERED.replace("{", "{ ", 1)
    assert (await world.client.post("/v1/plans", content=other, headers=headers)).status_code == 422
