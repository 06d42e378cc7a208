"""Two PostgreSQL servers behind one address: a primary, a hot standby of it, and a failover between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from cluster.links import Link
from cluster.ports import HOST
from cluster.postgres import DATABASE, PostgresServer
from middleman.adapters.postgres.engine import engine, owner_engine
from middleman.adapters.postgres.migrate import set_environment, set_role_passwords, upgrade_to_head
from tests.support.database import PASSWORD

ROLES = ("middleman_api", "middleman_replica", "middleman_judge")


@dataclass(slots=True)
class Failover:
    """`primary` and `standby` change places; `address` leads to one of both, wherever it was moved last."""

    primary: PostgresServer
    standby: PostgresServer
    address: Link

    def pool(self, role: str, name: str, size: int = 3) -> AsyncEngine:
        """A pool of the application behind the address."""
        url = self.primary.dsn(user=role, password=PASSWORD, port=self.address.port)
        return engine(url, application_name=name, pool_size=size)

    async def owner(self) -> "asyncpg.Connection[asyncpg.Record]":
        """A session of the superuser on the primary, past the address."""
        return await self.primary.connect()

    async def fail_over(self, *, loses_what_follows: bool = False) -> None:
        """The standby is promoted, and the old primary comes back as its standby. The address stays where it was.

        Nothing is lost, unless the standby had been cut off: see `stop_replication`.
        """
        if not loses_what_follows:
            await self.standby.until_caught_up()
        await self.primary.stop(mode="immediate")
        await self.standby.promote()
        connection = await self.standby.connect()
        await connection.execute("ALTER SYSTEM RESET primary_conninfo")
        await connection.close()
        self.primary.follow(self.standby)
        await self.primary.start()
        self.primary, self.standby = self.standby, self.primary

    def move_address(self) -> None:
        """New connections reach the primary; those that stand stay where they are."""
        self.address.lead_to(f"{HOST}:{self.primary.port}")

    async def stop_replication(self) -> None:
        """The standby gets nothing more: what commits from now on is lost in a failover."""
        await self.standby.until_caught_up()
        connection = await self.standby.connect()
        try:
            await connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            await connection.execute("SELECT pg_reload_conf()")
            async with asyncio.timeout(20):
                while await connection.fetchval("SELECT count(*) FROM pg_stat_wal_receiver"):  # noqa: ASYNC110  # the server sets no event of ours
                    await asyncio.sleep(0.02)
        finally:
            await connection.close()


@asynccontextmanager
async def failover_pair(directory: Path) -> AsyncIterator[Failover]:
    """A migrated database on a primary with a standby, and the address leads to the primary."""
    primary = PostgresServer(directory / "first", name="postgres-1")
    standby = PostgresServer(directory / "second", name="postgres-2")
    pair: Failover | None = None
    try:
        await primary.start()
        owner = owner_engine(primary.dsn(database=DATABASE))
        async with owner.begin() as connection:
            await upgrade_to_head(connection)
            await set_role_passwords(connection, dict.fromkeys(ROLES, PASSWORD))
            await set_environment(connection, "test")
        await owner.dispose()
        standby.follow(primary)
        await standby.start()
        pair = Failover(primary, standby, Link("the address of PostgreSQL", f"{HOST}:{primary.port}"))
        pair.address.start()
        yield pair
    finally:
        if pair is not None:
            await pair.address.close()
            primary, standby = pair.primary, pair.standby
        await standby.close()  # first: a primary that stops waits for its standby
        await primary.close()
