"""Old events may go: by the owner, through one function, and never those of the last 30 days, or money."""

from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from tests.support.database import Database
from tests.support.processes import run_middleman

from middleman.adapters.postgres.engine import owner_engine
from middleman.adapters.postgres.prune import prune_events

DAYS = (500, 401, 399, 31, 29, 0)


async def with_events(database: Database) -> None:
    """One event of each age, and the trigger's own clock is the server's."""
    async with database.connect() as owner:
        await owner.executemany(
            "INSERT INTO events (kind, subject, at) VALUES ('test.aged', $1::text, now() - make_interval(days => $2))",
            [(str(days), days) for days in DAYS],
        )


async def ages(database: Database) -> list[int]:
    async with database.connect() as owner:
        return [
            int(row[0])
            for row in await owner.fetch("SELECT subject FROM events WHERE kind = 'test.aged' ORDER BY seq")
        ]


@pytest.mark.parametrize(("older_than", "left"), [(400, [399, 31, 29, 0]), (30, [29, 0]), (600, list(DAYS))])
@pytest.mark.parametrize("batch", [1, 2, 10_000])
async def test_the_owner_prunes_what_is_older(
    database: Database, older_than: int, left: list[int], batch: int
) -> None:
    await with_events(database)
    pool = owner_engine(database.dsn())
    pruned = await prune_events(pool, timedelta(days=older_than), batch)
    await pool.dispose()
    assert (pruned, await ages(database)) == (len(DAYS) - len(left), left)
    async with database.connect() as owner:
        recorded = await owner.fetch(
            "SELECT data->>'pruned' AS pruned FROM events WHERE kind = 'events.pruned'"
        )
    assert sum(int(row["pruned"]) for row in recorded) == pruned


async def test_the_command_prunes_and_says_how_many(database: Database, tmp_path: Path) -> None:
    await with_events(database)
    arguments = ["prune", "--events-older-than-days"]
    done = run_middleman([*arguments, "400"], tmp_path, MIDDLEMAN_DATABASE_URL=database.dsn())
    assert (done.returncode, done.stdout) == (0, "2 events older than 400 days were deleted\n"), done.stderr
    refused = run_middleman([*arguments, "29"], tmp_path, MIDDLEMAN_DATABASE_URL=database.dsn())
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM events",
        "DELETE FROM events WHERE subject = '500'",
        "SELECT prune_events('29 days', 100)",
        "SET middleman.prunes = 'events'; DELETE FROM events WHERE subject = '29'",
        "SET middleman.prunes = 'events'; TRUNCATE events",
        "SET middleman.prunes = 'events'; UPDATE events SET subject = 'x'",
        "SELECT prune_events('400 days', 100); DELETE FROM events WHERE subject = '399'",
    ],
)
async def test_the_owner_too_is_refused_any_other_way(database: Database, statement: str) -> None:
    await with_events(database)
    async with database.connect() as owner:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await owner.execute(statement)
    assert refused.value.sqlstate == "MM002"
    assert await ages(database) == list(DAYS)


@pytest.mark.parametrize("role", ["middleman_api", "middleman_replica", "middleman_judge"])
async def test_no_process_may_prune(database: Database, role: str) -> None:
    await with_events(database)
    async with database.connect(role) as session:
        for statement in (
            "SELECT prune_events('400 days', 100)",
            "SET middleman.prunes = 'events'; DELETE FROM events",
        ):
            with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.ReadOnlySQLTransactionError)):
                await session.execute(statement)
    # Not even with the right to delete: the guard asks for the owner.
    async with database.connect() as owner:
        await owner.execute(
            f"GRANT DELETE ON events TO {role}; GRANT EXECUTE ON FUNCTION refuse_unless_pruned TO {role}"
        )
        await owner.execute(f"SET ROLE {role}; SET middleman.prunes = 'events'")
        with pytest.raises(asyncpg.PostgresError) as refused:
            await owner.execute("DELETE FROM events WHERE subject = '500'")
    assert refused.value.sqlstate == "MM002"
