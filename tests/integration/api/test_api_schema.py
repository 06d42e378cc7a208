"""The OpenAPI document tells the truth: Schemathesis sends what it allows, and what it forbids, to a real process.

Bounded: a fixed number of examples per operation, from a fixed seed.
"""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest_asyncio
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.config import GenerationConfig
from tests.integration.api.api_process import running
from tests.integration.api.conftest import CUSTOMER, PLAN
from tests.support.database import fresh_database
from tests.support.fake_processor import FakeProcessor

from cluster.postgres import PostgresServer
from cluster.sandbox import SandboxServer
from middleman.adapters.postgres.api_keys import create_api_key
from middleman.adapters.postgres.engine import engine, owner_engine
from middleman.bootstrap.api import assemble_api
from middleman.entrypoints.api.app import create_app

EXAMPLES_PER_OPERATION = 15

# Valid by their schema and refused all the same, for what no schema can say: the processor does not know the
# payment method, the anchor is long past, the currency has no cents, the signature is nobody's.
REFUSED_BY_MEANING = frozenset(
    {
        "create_customer",
        "replace_payment_method",
        "create_plan",
        "create_subscription",
        "list_events",
        "take_stripe_webhook",
    }
)


@dataclass(frozen=True, slots=True)
class Known:
    """A running API and the ids of things that exist in it, so that not every path ends in a 404."""

    url: str
    headers: dict[str, str]
    ids: dict[str, str]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def known(
    migrated_server: PostgresServer, sandbox_server: SandboxServer, tmp_path_factory: Any
) -> AsyncIterator[Known]:
    log: Path = tmp_path_factory.mktemp("schema") / "api.log"
    async with fresh_database(migrated_server) as database:
        owner = owner_engine(database.dsn())
        api_key = await create_api_key(owner, "schemathesis", ("read", "write"))
        await owner.dispose()
        async with running(database, log, api_key, sandbox_server) as api:
            yield Known(
                str(api.client.base_url),
                {"Authorization": f"Bearer {api_key}"},
                await _made(api.client),
            )


async def _made(client: httpx.AsyncClient) -> dict[str, str]:
    customer = (await client.post("/v1/customers", json=CUSTOMER)).json()["id"]
    plan = (await client.post("/v1/plans", json=PLAN)).json()["id"]
    body = {"customer_id": customer, "plan_id": plan}
    subscription = (await client.post("/v1/subscriptions", json=body)).json()["id"]
    return {"customer_id": customer, "plan_id": plan, "subscription_id": subscription}


def _document() -> dict[str, Any]:
    """The OpenAPI document, without a database: nothing here connects."""
    pool = engine("postgresql://u:p@127.0.0.1:1/none", application_name="none", pool_size=1)
    return create_app(assemble_api(pool, FakeProcessor(), 1)).openapi()


schema = schemathesis.openapi.from_dict(_document())
schema.config.generation = GenerationConfig(
    modes=[GenerationMode.POSITIVE, GenerationMode.NEGATIVE], deterministic=True, no_shrink=True
)


@schema.parametrize()
@settings(
    max_examples=EXAMPLES_PER_OPERATION,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
def test_the_api_keeps_to_its_document(case: Case[Any], known: Known) -> None:
    _use_what_exists(case, known.ids)
    operation_id = case.operation.definition.raw.get("operationId")
    excluded: list[Any] = []
    if operation_id in REFUSED_BY_MEANING or "cursor" in (
        case.query or {}
    ):  # a made-up cursor is none of ours
        excluded.append(CHECKS.get_one("positive_data_acceptance"))
    case.call_and_validate(known.url, headers=known.headers, excluded_checks=excluded, timeout=20)


def _use_what_exists(case: Case[Any], ids: dict[str, str]) -> None:
    """Put real ids into a case that is valid anyway; one that is meant to be invalid stays as it is."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict):
            place.update({name: value for name, value in ids.items() if name in place})
    if case.headers and "idempotency-key" in case.headers:
        # A caller uses a key once; reuse with another body has its own tests.
        case.headers["idempotency-key"] = secrets.token_hex(16)
