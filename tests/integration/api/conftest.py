"""The REST API over a database of the module's own and a processor in memory."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.support.database import Database, fresh_database
from tests.support.fake_processor import FakeProcessor

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.api_keys import create_api_key
from middleman.adapters.postgres.engine import engine, owner_engine
from middleman.bootstrap.api import ApiParts, assemble_api
from middleman.entrypoints.api.app import create_app
from middleman.ports.api_keys import Scope
from middleman.ports.processor import PaymentProcessor

POOL_SIZE = 5
WEBHOOK_SECRET = "whsec_of_the_tests"
PLAN = {"name": "Basic", "amount_minor": 999, "currency": "EUR", "interval": {"unit": "month", "count": 1}}
CUSTOMER = {"email": "ada@example.com", "payment_method": "pm_card_visa"}


@dataclass(frozen=True, slots=True)
class Instance:
    """One API process, minus the process."""

    app: FastAPI
    parts: ApiParts
    pool: AsyncEngine
    client: httpx.AsyncClient


@dataclass(frozen=True, slots=True)
class ApiWorld:
    """Two instances of the API over one database and one processor; `client` talks to the first."""

    database: Database
    processor: FakeProcessor
    first: Instance
    second: Instance

    @property
    def client(self) -> httpx.AsyncClient:
        return self.first.client

    async def key(self, *scopes: Scope) -> str:
        """A new API key's secret."""
        owner = owner_engine(self.database.dsn())
        try:
            return await create_api_key(owner, "test", scopes)
        finally:
            await owner.dispose()

    async def made(self, path: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """What a POST made."""
        answer = await self.client.post(path, json=body, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        document: dict[str, Any] = answer.json()
        return document

    async def subscribed(self, plan: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
        """A new subscription of a new customer to a new plan."""
        customer = await self.made("/v1/customers", CUSTOMER)
        plan_id = (await self.made("/v1/plans", PLAN | (plan or {})))["id"]
        return await self.made(
            "/v1/subscriptions", {"customer_id": customer["id"], "plan_id": plan_id} | fields
        )


@asynccontextmanager
async def api_instance(
    database: Database, processor: PaymentProcessor, api_key: str, patience_s: float
) -> AsyncIterator[Instance]:
    """One instance with a client that carries `api_key`."""
    pool = engine(database.dsn("middleman_api"), application_name="middleman-api-test", pool_size=POOL_SIZE)
    parts = assemble_api(pool, processor, POOL_SIZE, patience_s=patience_s, webhook_secrets=(WEBHOOK_SECRET,))
    app = create_app(parts)
    headers = {"Authorization": f"Bearer {api_key}"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        try:
            yield Instance(app, parts, pool, client)
        finally:
            await parts.close()


@asynccontextmanager
async def api_world(
    server: PostgresServer, *, patience_s: float = 10.0, processor: PaymentProcessor | None = None
) -> AsyncIterator[ApiWorld]:
    """A world of one's own. `processor` in place of the one in memory, which is then asked nothing."""
    async with fresh_database(server) as database:
        in_memory = FakeProcessor()
        processor = processor or in_memory
        owner = owner_engine(database.dsn())
        api_key = await create_api_key(owner, f"world-{secrets.token_hex(4)}", ("read", "write"))
        await owner.dispose()
        async with (
            api_instance(database, processor, api_key, patience_s) as first,
            api_instance(database, processor, api_key, patience_s) as second,
        ):
            yield ApiWorld(database, in_memory, first, second)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(migrated_server: PostgresServer) -> AsyncIterator[ApiWorld]:
    """Shared by the tests of a module: let each make its own customers."""
    async with api_world(migrated_server) as world:
        yield world
