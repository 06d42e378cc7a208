"""A migrated database per test module, cloned from one template, and ways to fill it."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import engine, owner_engine
from middleman.adapters.postgres.migrate import set_environment, set_role_passwords, upgrade_to_head
from middleman.adapters.postgres.roles import RoleNames, finish_roles, prepare_roles

PASSWORD = secrets.token_urlsafe(24)
_TEMPLATE = "middleman_template"


@dataclass(frozen=True, slots=True)
class Database:
    """One migrated database; every role has the password `PASSWORD`."""

    server: PostgresServer
    name: str

    def dsn(self, role: str | None = None) -> str:
        """The URL for a role, or for the owner."""
        if role is None:
            return self.server.dsn(database=self.name)
        return self.server.dsn(user=role, password=PASSWORD, database=self.name)

    @asynccontextmanager
    async def connect(self, role: str | None = None) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A bare session of a role, as somebody at a prompt would have."""
        connection = await asyncpg.connect(self.dsn(role))
        try:
            yield connection
        finally:
            await connection.close()

    def replica_engine(self, holder: str, pool_size: int = 5) -> AsyncEngine:
        """A pool such as a replica has."""
        return engine(self.dsn("middleman_replica"), application_name=holder, pool_size=pool_size)


async def make_template(server: PostgresServer) -> None:
    """Migrate one database; the tests' databases are copies of it."""
    await server.create_database(_TEMPLATE)
    owner = owner_engine(server.dsn(database=_TEMPLATE))
    async with owner.begin() as connection:
        names = RoleNames()  # of the template; its copies have the same
        await prepare_roles(connection, names)
        await upgrade_to_head(connection, names)
        await finish_roles(connection, names)
        await set_role_passwords(connection, dict.fromkeys(names.all, PASSWORD))
        await set_environment(connection, "test")
    await owner.dispose()


@asynccontextmanager
async def fresh_database(server: PostgresServer) -> AsyncIterator[Database]:
    """A database of one's own, dropped afterwards."""
    name = f"t_{secrets.token_hex(6)}"
    await server.create_database(name, template=_TEMPLATE)
    try:
        yield Database(server, name)
    finally:
        await server.drop_database(name)


async def add_subscriptions(
    connection: "asyncpg.Connection[asyncpg.Record]",
    count: int,
    *,
    prefix: str = "s",
    due_in: str = "-1 hour",
    interval: str = "month",
    payment_method: str = "pm_card_visa",
) -> list[str]:
    """`count` subscriptions, each with a customer of its own, anchored at now + `due_in`; returns their ids."""
    await connection.execute(
        "INSERT INTO plans (id, name, amount_minor, currency, interval_unit, interval_count)"
        " VALUES ($1, 'Basic', 999, 'EUR', $2, 1) ON CONFLICT DO NOTHING",
        f"pl_{interval}",
        interval,
    )
    await connection.execute(
        "INSERT INTO customers (id, email, processor_customer_id, payment_method_id)"
        " SELECT 'cu_' || $1 || n, n || '@example.com', 'cus_' || $1 || n, $3 FROM generate_series(1, $2::int) n",
        prefix,
        count,
        payment_method,
    )
    rows = await connection.fetch(
        "INSERT INTO subscriptions (id, customer_id, plan_id, amount_minor, currency, interval_unit,"
        " interval_count, anchor_local, time_zone, next_due_at)"
        " SELECT 'sub_' || $1 || n, 'cu_' || $1 || n, 'pl_' || $4, 999, 'EUR', $4, 1, anchor, 'UTC',"
        " anchor AT TIME ZONE 'UTC' FROM generate_series(1, $2::int) n,"
        " LATERAL (SELECT date_trunc('second', (business_now() + $3::text::interval) AT TIME ZONE 'UTC') AS anchor)"
        " RETURNING id",
        prefix,
        count,
        due_in,
        interval,
    )
    return [row["id"] for row in rows]
