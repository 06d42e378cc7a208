"""Nothing is acknowledged that is on one machine only: also not by a repeat that finds it there.

The server waits for a standby, and there is none: no commit may be answered with success. A commit whose wait is
cut short is kept by the server all the same, so the next request sees it.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.integration.api.conftest import CUSTOMER, PLAN, ApiWorld, api_world
from tests.integration.api.test_api_webhooks import an_unpaid_debt, deliver, event, filed
from tests.support.database import make_template
from tests.support.store_rig import intent_of, store_rig

from cluster.postgres import PostgresServer
from middleman.adapters.postgres import api_keys
from middleman.adapters.postgres.engine import owner_engine
from middleman.ports.store import StoreUnavailable

PATIENCE_S = 1.0
Post = Callable[[httpx.AsyncClient], Coroutine[Any, Any, httpx.Response]]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lonely_world(server_root: Path) -> AsyncIterator[ApiWorld]:
    """A server of the module's own, which a test may let wait for a standby."""
    async with PostgresServer(server_root / "lonely") as server:
        await make_template(server)
        async with api_world(server, patience_s=PATIENCE_S) as world:
            yield world


@asynccontextmanager
async def no_standby(world: ApiWorld) -> AsyncIterator[None]:
    """Inside, commits wait for a standby that does not exist."""
    await _wait_for_standby(world, "nobody")
    try:
        yield
    finally:
        await _wait_for_standby(world, "")


async def _wait_for_standby(world: ApiWorld, names: str) -> None:
    async with world.database.connect() as owner, asyncio.timeout(10):
        await owner.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        await owner.execute("SELECT pg_reload_conf()")
        while await _commits(owner) is bool(names):
            pass  # the checkpointer has not read the setting yet


async def _commits(owner: Any) -> bool:
    """Whether a commit comes back."""
    try:
        await owner.execute("SELECT pg_logical_emit_message(true, 'test', 'probe')", timeout=0.2)
    except TimeoutError:
        return False
    return True


def posting(path: str, body: dict[str, Any], key: str | None) -> Post:
    headers = {} if key is None else {"Idempotency-Key": key}
    return lambda client: client.post(path, json=body, headers=headers)


async def a_request(world: ApiWorld, name: str, key: str | None) -> Post:
    """A request whose effect, where it has one, is new; or one that finds its effect already there."""
    if name == "customers":
        return posting("/v1/customers", CUSTOMER, key)
    if name == "plans":
        return posting("/v1/plans", PLAN, key)
    if name == "test_clock":
        return posting("/v1/test_clock", {"advance_s": 0}, key)
    made = await world.subscribed()
    match name:
        case "subscriptions":
            body = {"customer_id": made["customer_id"], "plan_id": made["plan_id"]}
            return posting("/v1/subscriptions", body, key)
        case "archive":
            return posting(f"/v1/plans/{made['plan_id']}/archive", {}, key)
        case "cancel":
            return posting(f"/v1/subscriptions/{made['id']}/cancel", {"at": "now"}, key)
        case "payment_method":
            path = f"/v1/customers/{made['customer_id']}/payment_method"
            return posting(path, {"payment_method": "pm_card_visa"}, key)
    raise AssertionError(name)


WRITES = ["customers", "plans", "subscriptions", "archive", "cancel", "payment_method", "test_clock"]


@pytest.mark.parametrize("name", WRITES)
async def test_no_repeat_is_acknowledged_before_a_standby_has_what_it_repeats(
    lonely_world: ApiWorld, name: str
) -> None:
    world, key = lonely_world, secrets.token_hex(8)
    post = await a_request(world, name, key)
    async with no_standby(world):
        answers = [await post(each.client) for each in (world.first, world.second, world.first)]
    assert {answer.status_code for answer in answers} <= {409, 503}, [each.text for each in answers]
    async with world.database.connect() as owner:
        await owner.execute("UPDATE api_idempotency_keys SET locked_until = now() WHERE key = $1", key)
    assert (await post(world.second.client)).status_code in (200, 201)


@pytest.mark.parametrize("name", ["archive", "cancel", "payment_method"])
async def test_what_is_found_already_done_is_not_acknowledged_before_a_standby_has_it(
    lonely_world: ApiWorld, name: str
) -> None:
    post = await a_request(lonely_world, name, None)
    async with no_standby(lonely_world):
        answers = [await post(lonely_world.client) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {503}, [each.text for each in answers]
    assert (await post(lonely_world.client)).status_code == 200


async def test_a_webhook_is_not_taken_before_a_standby_has_its_notice(lonely_world: ApiWorld) -> None:
    intent = f"pi_{(await an_unpaid_debt(lonely_world)).invoice_id}"
    async with no_standby(lonely_world):
        answers = [
            await deliver(each.client, event(intent)) for each in (lonely_world.first, lonely_world.second)
        ]
        assert await filed(lonely_world, intent) == 1, "it is there, on one machine"
    assert {answer.status_code for answer in answers} == {503}, [each.text for each in answers]
    taken = await deliver(lonely_world.client, event(intent))
    assert (taken.status_code, taken.json()["result"]) == (200, "known")


@pytest.mark.parametrize("way", ["pg_cancel_backend", "pg_terminate_backend"])
@pytest.mark.parametrize("what", ["plan", "notice"])
async def test_a_wait_for_the_standby_that_is_cut_short_is_no_acknowledgement(
    lonely_world: ApiWorld, way: str, what: str
) -> None:
    world, key = lonely_world, secrets.token_hex(8)
    if what == "plan":
        post = await a_request(world, "plans", key)
    else:
        document = event(f"pi_{(await an_unpaid_debt(world)).invoice_id}")

        async def post(client: httpx.AsyncClient) -> httpx.Response:
            return await deliver(client, document)

    async with no_standby(world), world.database.connect() as owner:
        for instance in (world.first, world.second):  # the second finds what the first left
            posted = asyncio.create_task(post(instance.client))
            await _cut_short(owner, way, posted)
            assert (await posted).status_code == 503
    assert (await post(world.client)).status_code in (200, 201)


async def test_an_api_key_is_not_said_to_be_revoked_before_a_standby_knows(
    lonely_world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_keys, "_PATIENCE_S", PATIENCE_S)
    await lonely_world.key("read")
    owner = owner_engine(lonely_world.database.dsn())
    try:
        [key, *_] = await api_keys.list_api_keys(owner)
        async with no_standby(lonely_world):
            for _ in range(2):
                with pytest.raises(StoreUnavailable):
                    await api_keys.revoke_api_key(owner, key.id)
            with pytest.raises(StoreUnavailable):
                await api_keys.create_api_key(owner, "nobody's", ("read",))
        assert await api_keys.revoke_api_key(owner, key.id) is False, "it was revoked, and now that is said"
    finally:
        await owner.dispose()


async def test_a_fenced_write_whose_wait_was_cancelled_is_not_taken_as_committed(
    lonely_world: ApiWorld,
) -> None:
    """A binding that is on one machine only would be confirmed, and forgotten by a failover."""
    await lonely_world.subscribed()
    async with store_rig(lonely_world.database) as rig:
        [*_, attempt] = (await rig.claim()).attempts
        async with no_standby(lonely_world):
            binding = asyncio.create_task(rig.bind(attempt))
            await _cut_short(rig.owner, "pg_cancel_backend", binding)
            with pytest.raises(StoreUnavailable):
                await binding
        assert await rig.bind(attempt) == [intent_of(attempt)], "a repeat finds it, and waits for the standby"


async def _cut_short(owner: Any, way: str, waiting: "asyncio.Task[Any]") -> None:
    """End its wait for the standby as soon as it waits; on a slow machine its own patience may end it before."""
    here = "datname = current_database()"
    statement = f"SELECT count({way}(pid)) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND {here}"
    async with asyncio.timeout(10):
        while not waiting.done() and not await owner.fetchval(  # noqa: ASYNC110  # the server sets no events of ours
            statement
        ):
            await asyncio.sleep(0.01)
