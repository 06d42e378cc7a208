"""The models equal the migrations, and what is written once stays written."""

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from tests.support.database import Database, add_subscriptions

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.schema import METADATA

CONSTRAINTS = """
    SELECT conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> 0
      AND conrelid::regclass::text <> 'alembic_version'
"""
INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
COLUMNS = """
    SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' '
           || coalesce(column_default, '-') || ' ' || is_identity
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version'
"""


@pytest.mark.filterwarnings(
    "ignore:Did not recognize type .xid8"
)  # SQLAlchemy has no name for it: schema.Xid8
async def test_alembic_finds_nothing_to_migrate(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), METADATA))

    owner = owner_engine(database.dsn())
    async with owner.connect() as connection:
        assert await connection.run_sync(differences) == []
    await owner.dispose()


@pytest.mark.parametrize("query", [CONSTRAINTS, INDEXES, COLUMNS], ids=["constraints", "indexes", "columns"])
async def test_tables_made_from_the_models_equal_the_migrated_ones(
    migrated_server: PostgresServer, database: Database, query: str
) -> None:
    """Checks, partial indexes and defaults too, which Alembic does not compare."""
    name = f"models_{abs(hash(query))}"
    await migrated_server.create_database(name)
    owner = owner_engine(migrated_server.dsn(database=name))
    try:
        async with owner.begin() as connection:
            await connection.run_sync(METADATA.create_all)
        from_models = await _rows(migrated_server.dsn(database=name), query)
        from_migrations = await _rows(database.dsn(), query)
        assert len(from_migrations) > 10
        assert from_models == from_migrations
    finally:
        await owner.dispose()
        await migrated_server.drop_database(name)


async def _rows(dsn: str, query: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row[0] for row in await connection.fetch(query)}
    finally:
        await connection.close()


async def test_the_event_log_is_append_only_even_for_its_owner(database: Database) -> None:
    async with database.connect() as owner:
        await owner.execute("INSERT INTO events (kind, subject) VALUES ('thing.happened', 'x')")
        for statement in ("UPDATE events SET kind = 'a.b'", "DELETE FROM events", "TRUNCATE events"):
            with pytest.raises(asyncpg.PostgresError, match="append-only") as refused:
                await owner.execute(statement)
            assert refused.value.sqlstate == "MM002"


async def test_the_test_clock_shifts_time_in_the_test_environment_only_and_never_back(
    database: Database,
) -> None:
    async with database.connect() as owner:
        shifted = await owner.fetchval("SELECT set_test_clock(interval '30 days', 0)")
        assert await owner.fetchval("SELECT business_now()") == shifted
        assert (await owner.fetchval("SELECT business_now() - now()")).days in (29, 30)
        with pytest.raises(asyncpg.PostgresError, match="never goes back"):
            await owner.fetchval("SELECT set_test_clock(interval '-1 second', 1)")
        await owner.execute("UPDATE deployment SET environment = 'production'")
        with pytest.raises(asyncpg.PostgresError, match="test environment only"):
            await owner.fetchval("SELECT set_test_clock(interval '1 day', 1)")


async def test_the_due_scan_reads_an_index_range_and_not_the_table(database: Database) -> None:
    async with database.connect() as owner:
        await add_subscriptions(owner, 3000, due_in="30 days")
        await owner.execute("ANALYZE subscriptions")
        plan = "\n".join(
            row[0]
            for row in await owner.fetch(
                "EXPLAIN SELECT id FROM subscriptions WHERE scope = 0 AND status = 'active' AND withheld IS NULL"
                " AND next_due_at <= business_now() AND (ends_at IS NULL OR next_due_at < ends_at)"
                " ORDER BY next_due_at LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED"
            )
        )
        assert "Index Scan using subscriptions_due" in plan
        assert "Index Cond: ((scope = 0) AND (next_due_at <=" in plan
