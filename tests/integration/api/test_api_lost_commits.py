"""A database that lost its last commits: a request repeated under its key makes the same things under the same names.

The loss is played by the owner, who removes what an asynchronous failover would have lost: the rows and the ticket.
"""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from tests.integration.api.conftest import CUSTOMER, PLAN, ApiWorld, api_world
from tests.support.fake_processor import Operation
from tests.support.pipeline_works import Works
from tests.support.store_rig import store_rig

from cluster.postgres import PostgresServer
from cluster.sandbox import SandboxServer
from middleman.adapters.stripe.config import StripeConfig
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.domain.ids import ProcessorCustomerId
from middleman.domain.intents import IntentStatus
from middleman.ports.processor import IntentPage, ListIntents

TABLES = {"customers": "cu_", "plans": "pl_", "subscriptions": "sub_"}


async def lose(world: ApiWorld, *tables: str) -> None:
    """Remove all rows of these tables and every ticket, as a promoted server that never received them."""
    async with world.database.connect() as owner:
        names = ", ".join((*tables, "events", "api_idempotency_keys"))
        await owner.execute(f"SET session_replication_role = replica; TRUNCATE {names} CASCADE")


async def body_for(world: ApiWorld, table: str) -> dict[str, Any]:
    if table == "customers":
        return CUSTOMER
    if table == "plans":
        return PLAN
    customer = await world.made("/v1/customers", CUSTOMER)
    plan = await world.made("/v1/plans", PLAN)
    return {"customer_id": customer["id"], "plan_id": plan["id"]}


@pytest.mark.parametrize("table", TABLES)
async def test_a_repeat_after_lost_commits_makes_the_same_thing(world: ApiWorld, table: str) -> None:
    body, key = await body_for(world, table), {"Idempotency-Key": secrets.token_hex(8)}
    first = await world.made(f"/v1/{table}", body, **key)
    async with world.database.connect() as owner:
        await owner.execute(f"DELETE FROM {table} WHERE id = $1", first["id"])
        await owner.execute("DELETE FROM api_idempotency_keys WHERE key = $1", key["Idempotency-Key"])
    again = await world.second.client.post(f"/v1/{table}", json=body, headers=key)
    assert again.status_code == 201
    assert "Idempotent-Replayed" not in again.headers
    assert again.json()["id"] == first["id"]
    if table == "customers":
        assert again.json()["processor_customer_id"] == first["processor_customer_id"]
        assert again.json()["payment_method_id"] == first["payment_method_id"]


async def test_a_repeat_after_a_lost_replacement_attaches_the_same_payment_method(world: ApiWorld) -> None:
    customer, key = await world.made("/v1/customers", CUSTOMER), {"Idempotency-Key": secrets.token_hex(8)}
    path, body = f"/v1/customers/{customer['id']}/payment_method", {"payment_method": "pm_card_mastercard"}
    first = await world.made(path, body, **key)
    async with world.database.connect() as owner:
        await owner.execute(
            "UPDATE customers SET payment_method_id = $2 WHERE id = $1",
            customer["id"],
            customer["payment_method_id"],
        )
        await owner.execute("DELETE FROM api_idempotency_keys WHERE key = $1", key["Idempotency-Key"])
    assert (await world.made(path, body, **key))["payment_method_id"] == first["payment_method_id"]


async def test_two_api_keys_make_two_things_under_one_idempotency_key(world: ApiWorld) -> None:
    other = {"Authorization": f"Bearer {await world.key('read', 'write')}"}
    key = {"Idempotency-Key": secrets.token_hex(8)}
    mine = await world.made("/v1/plans", PLAN, **key)
    theirs = await world.made("/v1/plans", PLAN, **key, **other)
    assert mine["id"] != theirs["id"]


@pytest_asyncio.fixture(loop_scope="session")
async def stripe_like(sandbox_server: SandboxServer) -> AsyncIterator[StripeProcessor]:
    config = StripeConfig(api_key=sandbox_server.api_key, api_base=sandbox_server.url)
    async with StripeProcessor(config) as processor:
        yield processor


async def test_a_subscription_that_was_charged_and_lost_is_charged_once_when_it_is_made_again(
    migrated_server: PostgresServer, stripe_like: StripeProcessor
) -> None:
    async with (
        api_world(migrated_server, processor=stripe_like) as world,
        store_rig(world.database) as rig,
    ):
        works = Works(rig, stripe_like)  # type: ignore[arg-type]  # it leads over any processor
        ids = []
        for _ in range(2):
            made = {}
            for name, path, body in (
                ("customer", "customers", CUSTOMER),
                ("plan", "plans", PLAN),
            ):
                made[name] = await world.made(f"/v1/{path}", body, **{"Idempotency-Key": f"{name}-of-ada"})
            asked = {"customer_id": made["customer"]["id"], "plan_id": made["plan"]["id"]}
            made["subscription"] = await world.made(
                "/v1/subscriptions", asked, **{"Idempotency-Key": "subscription-of-ada"}
            )
            async with works.leading() as leading:
                await works.until("paid", 1, leading)
            ids.append({name: each["id"] for name, each in made.items()})
            await lose(
                world, "customers", "plans", "subscriptions", "invoices", "payment_attempts", "ledger_entries"
            )
        assert ids[0] == ids[1]
        charged = made["customer"]["processor_customer_id"]
        page = await stripe_like.list_intents(ListIntents(customer_id=ProcessorCustomerId(charged)))
        assert isinstance(page, IntentPage)
        assert [intent.status for intent in page.intents] == [IntentStatus.SUCCEEDED]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("same_body", [True, False])
async def test_a_key_whose_answer_is_forgotten_makes_nothing_a_second_time(
    world: ApiWorld, table: str, same_body: bool
) -> None:
    body, key = await body_for(world, table), {"Idempotency-Key": secrets.token_hex(8)}
    made = await world.made(f"/v1/{table}", body, **key)
    async with world.database.connect() as owner:
        await owner.execute("DELETE FROM api_idempotency_keys WHERE key = $1", key["Idempotency-Key"])
        before = await owner.fetchval(f"SELECT count(*) FROM {table}")
        calls = len(world.processor.calls)
        late = body if same_body else body | {"metadata": {"order": "another"}}
        answer = await world.second.client.post(f"/v1/{table}", json=late, headers=key)
        assert answer.status_code == 409
        assert answer.json()["type"].endswith("/idempotency-key-spent")
        assert made["id"] in answer.json()["detail"]
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == before
    assert len(world.processor.calls) == calls, "nothing is asked of the processor"
    assert (await world.client.get(f"/v1/{table}/{made['id']}")).json() == made


async def test_a_lost_ticket_does_not_let_another_body_take_the_name_at_the_processor(
    world: ApiWorld,
) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    made = await world.made("/v1/customers", CUSTOMER, **key)
    async with world.database.connect() as owner:
        await owner.execute("DELETE FROM customers WHERE id = $1", made["id"])
        await owner.execute("DELETE FROM api_idempotency_keys WHERE key = $1", key["Idempotency-Key"])
    other = await world.client.post(
        "/v1/customers", json=CUSTOMER | {"email": "bob@example.com"}, headers=key
    )
    assert other.status_code == 422
    assert other.json()["type"].endswith("/idempotency-key-reused")
    first = await world.client.post("/v1/customers", json=CUSTOMER, headers=key)
    assert first.status_code == 201, "the first body still makes what it made"
    assert first.json()["processor_customer_id"] == made["processor_customer_id"]


async def test_a_ticket_of_the_release_before_keeps_the_name_that_it_recorded(world: ApiWorld) -> None:
    key = {"Idempotency-Key": secrets.token_hex(8)}
    world.processor.before_call = _dying_at(Operation.CUSTOMER)
    assert (await world.client.post("/v1/customers", json=CUSTOMER, headers=key)).status_code == 500
    world.processor.before_call = None
    async with world.database.connect() as owner:
        await owner.execute(
            "UPDATE api_idempotency_keys SET resource_id = 'cu_01jd8x3v9k2m4n5p6q7r8s9t0v', locked_until = now()"
            " WHERE key = $1",
            key["Idempotency-Key"],
        )
    resumed = await world.made("/v1/customers", CUSTOMER, **key)
    assert resumed["id"] == "cu_01jd8x3v9k2m4n5p6q7r8s9t0v"


def _dying_at(operation: Operation) -> Any:
    async def die(called: Operation, _: object) -> None:
        if called is operation:
            raise ConnectionAbortedError("the process ends here")

    return die


@pytest.mark.parametrize("table", TABLES)
async def test_a_list_is_newest_first_although_names_do_not_sort(
    migrated_server: PostgresServer, table: str
) -> None:
    async with api_world(migrated_server) as world:
        body = await body_for(world, table)
        async with world.database.connect() as owner:
            started = await owner.fetchval("SELECT now()")
        made = [
            (await world.made(f"/v1/{table}", body, **{"Idempotency-Key": f"n-{n}"}))["id"] for n in range(12)
        ]
        assert made != sorted(made), "names that derive from keys have an order of their own"
        listed: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = (await world.client.get(f"/v1/{table}", params={"limit": "5"} | cursor)).json()
            listed += [each["id"] for each in page["data"] if instant(each["created_at"]) >= started]
            if page["next_cursor"] is None:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert listed == made[::-1]


def instant(text: str) -> datetime:
    assert datetime.now(UTC) - datetime.fromisoformat(text) < timedelta(hours=1)
    return datetime.fromisoformat(text)
