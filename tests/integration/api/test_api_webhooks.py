"""`POST /webhooks/stripe`: the signature admits, a hint is filed, and whatever else comes is answered in kind."""

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs
from tests.integration.api.conftest import WEBHOOK_SECRET, ApiWorld
from tests.support.fake_processor import FakeProcessor
from tests.support.store_rig import store_rig

from middleman.adapters.postgres.engine import engine
from middleman.bootstrap.api import assemble_api
from middleman.domain.attempts import RequiresAction
from middleman.domain.ids import PaymentIntentId
from middleman.entrypoints.api.app import create_app
from middleman.entrypoints.api.gate import MAX_BODY_BYTES, MAX_WEBHOOK_BYTES
from middleman.ports.store import OpenAttempt

PATH = "/webhooks/stripe"
PROBLEM = "https://middleman.example/problems/"


def event(intent: str = "pi_unknown", **fields: Any) -> dict[str, Any]:
    return {
        "id": f"evt_{intent}",
        "object": "event",
        "type": "payment_intent.succeeded",
        "created": int(time.time()) - 5,
        "livemode": False,
        "data": {"object": {"id": intent, "object": "payment_intent"}},
    } | fields


def signature(body: bytes, *, secret: str = WEBHOOK_SECRET, ago_s: int = 0) -> str:
    stamp = int(time.time()) - ago_s
    return (
        f"t={stamp},v1={hmac.new(secret.encode(), f'{stamp}.'.encode() + body, hashlib.sha256).hexdigest()}"
    )


async def deliver(client: httpx.AsyncClient, document: object, **how: Any) -> httpx.Response:
    """Without an API key, as Stripe."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "Stripe-Signature": signature(body, **how),
        "Authorization": "",
    }
    return await client.post(PATH, content=body, headers=headers)


async def an_unpaid_debt(world: ApiWorld) -> OpenAttempt:
    """An invoice whose customer has to come back."""
    await world.subscribed()
    async with store_rig(world.database) as rig:
        attempts = (await rig.claim()).attempts
        await rig.bind(*attempts)
        await rig.settle(*((each, RequiresAction()) for each in attempts))
    return attempts[-1]


async def filed(world: ApiWorld, intent: str) -> int:
    owner = await asyncpg.connect(world.database.dsn())
    try:
        found: int = await owner.fetchval(
            "SELECT count(*) FROM processor_notices WHERE payment_intent_id = $1", intent
        )
        return found
    finally:
        await owner.close()


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    with capture_logs() as entries:
        yield entries


async def test_an_event_about_a_debt_is_filed_once_by_whichever_instance(world: ApiWorld) -> None:
    intent = f"pi_{(await an_unpaid_debt(world)).invoice_id}"
    answers = [await deliver(each.client, event(intent)) for each in (world.first, world.second, world.first)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.json()["result"] for answer in answers] == ["filed", "known", "known"]
    assert await filed(world, intent) == 1


async def test_what_is_of_no_interest_is_taken_and_forgotten(world: ApiWorld) -> None:
    stranger = await deliver(world.client, event("pi_stranger"))
    other = await deliver(world.client, event("pi_stranger", type="charge.refunded"))
    assert [each.json() for each in (stranger, other)] == [{"result": "ignored"}] * 2
    assert await filed(world, "pi_stranger") == 0


@pytest.mark.parametrize(
    "how", [{"secret": "whsec_of_somebody"}, {"ago_s": 301}, {"ago_s": 86_400}, {"ago_s": -60}]
)
async def test_a_forged_or_stale_delivery_is_refused_and_kept_out_of_the_log(
    world: ApiWorld, how: dict[str, Any], logs: list[Any]
) -> None:
    intent = str(PaymentIntentId(f"pi_{(await an_unpaid_debt(world)).invoice_id}"))
    answer = await deliver(world.client, event(intent, metadata={"note": "hush"}), **how)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"{PROBLEM}webhook-refused"
    assert await filed(world, intent) == 0
    [entry] = [entry for entry in logs if entry["event"] == "webhook.refused"]
    assert entry["request_id"] == answer.headers["x-request-id"]
    assert "hush" not in str(logs)
    assert intent not in str(logs)


@pytest.mark.parametrize(
    "headers",
    [{}, {"Stripe-Signature": ""}, {"Stripe-Signature": "t=1,v1=x"}, {"Stripe-Signature": b"v1=\xff\xfe"}],
)
async def test_without_a_signature_nothing_is_taken(world: ApiWorld, headers: dict[str, Any]) -> None:
    answer = await world.client.post(PATH, json=event(), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, f"{PROBLEM}webhook-refused")


async def test_of_two_signature_headers_none_counts(world: ApiWorld) -> None:
    body = json.dumps(event()).encode()
    twice = [("Stripe-Signature", signature(body)), ("Stripe-Signature", signature(body))]
    answer = await world.client.post(
        PATH, content=body, headers=[*twice, ("Content-Type", "application/json")]
    )
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b"null", b'"evt_1"', b'{"type": 1}', event(id="evt_\x00")]
)
async def test_a_signed_body_that_is_no_event_is_malformed_and_no_defect(
    world: ApiWorld, document: object
) -> None:
    answer = await deliver(world.client, document)
    assert (answer.status_code, answer.json()["type"]) == (400, f"{PROBLEM}malformed-request")


async def test_an_event_of_live_mode_is_refused(world: ApiWorld) -> None:
    answer = await deliver(world.client, event(livemode=True))
    assert (answer.status_code, answer.json()["type"]) == (400, f"{PROBLEM}webhook-refused")


async def test_an_event_may_be_larger_than_other_requests_but_not_without_end(world: ApiWorld) -> None:
    large = event("pi_large", metadata={"note": "x" * MAX_BODY_BYTES})
    assert (await deliver(world.client, large)).json() == {"result": "ignored"}
    too_large = event("pi_large", metadata={"note": "x" * MAX_WEBHOOK_BYTES})
    assert (await deliver(world.client, too_large)).status_code == 413


async def test_what_became_of_webhooks_is_counted(world: ApiWorld) -> None:
    await deliver(world.client, event("pi_stranger"))
    await deliver(world.client, event("pi_stranger"), secret="whsec_of_somebody")
    exposed = (await world.client.get("/metrics")).text
    for result in ("ignored", "refused"):
        assert f'middleman_api_webhooks_total{{result="{result}"}}' in exposed


async def test_without_a_secret_nothing_is_taken_and_the_setting_is_named(world: ApiWorld) -> None:
    pool = engine(world.database.dsn("middleman_api"), application_name="api", pool_size=1)
    parts = assemble_api(pool, FakeProcessor(), 1)
    transport = httpx.ASGITransport(create_app(parts))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            answer = await deliver(client, event())
    finally:
        await parts.close()
    assert (answer.status_code, answer.json()["type"]) == (404, f"{PROBLEM}not-found")
    assert "STRIPE_WEBHOOK_SECRET" in answer.json()["detail"]


async def test_when_the_database_is_away_stripe_is_asked_to_deliver_again() -> None:
    away = engine("postgresql://u:p@127.0.0.1:1/none", application_name="none", pool_size=1)
    parts = assemble_api(away, FakeProcessor(), 1, patience_s=2.0, webhook_secrets=(WEBHOOK_SECRET,))
    transport = httpx.ASGITransport(create_app(parts))
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            answer = await deliver(client, event())
    finally:
        await parts.close()
    assert (answer.status_code, answer.json()["type"]) == (503, f"{PROBLEM}database-unavailable")
