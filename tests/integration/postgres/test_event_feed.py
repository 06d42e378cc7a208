"""Whoever follows the log by `after_seq` gets every event once: beside other writers, databases, and 2^32 transactions."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio
from tests.support.database import Database, fresh_database, make_template

from chaos.judge.read_books import database_clock, read_books
from cluster.environment import clean_environment
from cluster.leashed import Command
from cluster.one_shot import run_to_end
from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import engine, owner_engine
from middleman.adapters.postgres.migrate import order_restored_events
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.records import PostgresRecords

ADD = "INSERT INTO events (kind, subject) VALUES ('test.happened', $1) RETURNING seq"
IDS_IN_A_SEGMENT = 32 * 8192 * 4
LATER = 2861 * IDS_IN_A_SEGMENT  # about 3 x 10^9, more than 2^31


class Follower:
    """Follows the log as `GET /v1/events` lets a client do it."""

    def __init__(self, records: PostgresRecords) -> None:
        self._records = records
        self._seen_seq: int | None = None

    async def more(self, limit: int = 100, kind: str | None = None) -> list[str]:
        """The subjects of what came since the last call."""
        page = await self._records.events(self._seen_seq, limit, newest_first=False, kind=kind, subject=None)
        if page.items:
            self._seen_seq = page.items[-1].seq
        return [event.subject for event in page.items]


@pytest_asyncio.fixture(loop_scope="session")
async def records(database: Database) -> AsyncIterator[PostgresRecords]:
    pool = engine(database.dsn("middleman_api"), application_name="feed", pool_size=2)
    yield PostgresRecords(Reader(pool.execution_options(isolation_level="AUTOCOMMIT")))
    await pool.dispose()


@asynccontextmanager
async def writer(database: Database, subject: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Inside, a transaction is open that has written this event; it commits at the end."""
    async with database.connect() as owner, owner.transaction():
        await owner.execute(ADD, subject)
        yield owner


async def test_a_transaction_that_wrote_first_and_commits_last_is_not_skipped(
    database: Database, records: PostgresRecords
) -> None:
    follower = Follower(records)
    async with writer(database, "slow"), database.connect() as owner:
        await owner.execute(ADD, "quick")
        assert await follower.more() == []
    assert await follower.more() == ["slow", "quick"]
    assert await follower.more() == []


async def test_a_lower_seq_of_a_younger_transaction_is_not_skipped(
    database: Database, records: PostgresRecords
) -> None:
    """`seq` and transaction ids are handed out apart: the younger transaction may hold the lower number."""
    follower = Follower(records)
    async with database.connect() as older, database.connect() as younger:
        began = older.transaction()
        await began.start()
        await older.execute("SELECT pg_current_xact_id()")
        async with younger.transaction():
            low = await younger.fetchval(ADD, "younger")
            high = await older.fetchval(ADD, "older")
            assert low < high
            await began.commit()
            first = await follower.more()
        assert first + await follower.more() == ["older", "younger"]


async def test_a_page_of_each_size_and_kind_goes_on_where_the_last_one_ended(
    database: Database, records: PostgresRecords
) -> None:
    follower, of_kind = Follower(records), Follower(records)
    async with database.connect() as owner:
        for number in range(5):
            await owner.execute(ADD, str(number))
    pages = [await follower.more(2) for _ in range(4)]
    assert pages == [["0", "1"], ["2", "3"], ["4"], []]
    assert [await of_kind.more(3, "test.happened") for _ in range(2)] == [["0", "1", "2"], ["3", "4"]]
    newest = await records.events(None, 2, newest_first=True, kind="test.happened", subject=None)
    older = await records.events(newest.items[-1].seq, 9, newest_first=True, kind=None, subject=None)
    assert [each.subject for each in (*newest.items, *older.items)] == ["4", "3", "2", "1", "0"]


async def test_a_transaction_that_is_open_in_another_database_does_not_stop_the_feed(
    database: Database, records: PostgresRecords
) -> None:
    await database.server.create_database("another")
    other = await database.server.connect("another")
    try:
        async with other.transaction():
            assert await other.fetchval("SELECT pg_current_xact_id()")
            async with database.connect() as owner:
                await owner.execute(ADD, "while another database is at work")
            assert await Follower(records).more() == ["while another database is at work"]
    finally:
        await other.close()
        await database.server.drop_database("another")


async def test_an_event_is_still_there_after_three_billion_transactions(server_root: Path) -> None:
    """`age(xmin)` turns negative after 2^31: such an event seemed to be of a transaction still to come."""
    async with PostgresServer(server_root / "old") as server:
        await make_template(server)
        async with fresh_database(server) as database:
            async with database.connect() as owner:
                await owner.execute(ADD, "old")
            await _freeze_all(server, database.name)
            await server.stop()
            await _use_up_transaction_ids(server, LATER)
            await server.start()
            pool = engine(database.dsn("middleman_api"), application_name="feed", pool_size=1)
            try:
                async with database.connect() as owner:
                    assert int(await owner.fetchval("SELECT pg_current_xact_id()::text")) >= LATER
                    follower = Follower(
                        PostgresRecords(Reader(pool.execution_options(isolation_level="AUTOCOMMIT")))
                    )
                    assert await follower.more() == ["old"]
                    await owner.execute(ADD, "new")
                    assert await follower.more() == ["new"]
            finally:
                await pool.dispose()


async def test_the_judge_takes_no_later_commit_for_that_of_an_old_event(server_root: Path) -> None:
    """After 2^32 transactions a row's xmin is the id of another transaction, whose commit has another instant."""
    async with PostgresServer(server_root / "older") as server:
        await make_template(server)
        async with fresh_database(server) as database:
            async with database.connect() as owner:
                await owner.execute(
                    "INSERT INTO events (kind, subject, term) VALUES ('test.happened', 'old', 1)"
                )
                [row] = await owner.fetch("SELECT xmin::text::int AS id FROM events")
            await _freeze_all(server, database.name)
            await server.stop()
            await _use_up_transaction_ids(server, row["id"], epoch=1)
            await server.start()
            async with database.connect() as owner:
                while int(await owner.fetchval("SELECT pg_current_xact_id()::text")) <= 2**32 + row["id"]:
                    pass
                await owner.execute(
                    "INSERT INTO events (kind, subject, term) VALUES ('test.happened', 'new', 2)"
                )
                books = await read_books(owner, await database_clock(owner))
            assert books.untracked_writes == 1
            assert books.write_runs is not None
            assert [(run.term, run.writes) for run in books.write_runs] == [(2, 1)]


async def _freeze_all(server: PostgresServer, name: str) -> None:
    for each in (name, "middleman_template", "middleman", "postgres", "template1"):
        connection = await server.connect(each)
        await connection.execute("VACUUM (FREEZE)")
        await connection.close()


async def _use_up_transaction_ids(server: PostgresServer, next_id: int, epoch: int = 0) -> None:
    """The next transaction of the stopped server gets this id; above 2^31 it is to be the first of a segment."""
    files, user = server._files, server._user
    assert files is not None
    segment = files.data / "pg_xact" / f"{next_id // IDS_IN_A_SEGMENT:04X}"
    if not segment.exists():
        segment.write_bytes(bytes(256 * 1024))
        if user is not None:
            os.chown(segment, user.uid, user.gid)
    oldest = str(max(3, next_id - 1000))
    ids = ("-e", str(epoch), "-x", str(next_id), "-u", oldest, "-c", f"{next_id},{next_id}")
    argv = (str(files.bin / "pg_resetwal"), *ids, "-D", str(files.data))
    await run_to_end(
        "pg_resetwal", Command(argv, clean_environment(), files.home, user), server.log_path, timeout_s=20
    )


async def test_events_restored_from_another_server_are_ordered_by_migrate(
    database: Database, records: PostgresRecords
) -> None:
    """A dump keeps the transaction ids of the server that it comes from."""
    async with database.connect() as owner:
        await owner.execute(
            "INSERT INTO events (kind, subject, xact_id) VALUES ('test.happened', '1', '999999999999')"
        )
        await owner.execute("INSERT INTO events (kind, subject, xact_id) VALUES ('test.happened', '2', '3')")
    follower = Follower(records)
    assert await follower.more() == ["2"], "as a restore leaves it"
    sessions = owner_engine(database.dsn())
    for told in (1, 0):
        async with sessions.begin() as connection:
            assert len(await order_restored_events(connection)) == told
    await sessions.dispose()
    async with database.connect() as owner:
        await owner.execute(ADD, "new")
        with pytest.raises(asyncpg.PostgresError, match="append-only"):
            await owner.execute("UPDATE events SET subject = 'x'")
    assert await Follower(records).more() == ["1", "2", "new"]


async def test_the_feed_waits_for_nothing_that_only_reads(
    database: Database, records: PostgresRecords
) -> None:
    async with database.connect() as reader, reader.transaction(isolation="repeatable_read", readonly=True):
        await reader.fetch("SELECT * FROM events")
        async with database.connect() as owner:
            await owner.execute(ADD, "beside a reader")
        assert await Follower(records).more() == ["beside a reader"]
