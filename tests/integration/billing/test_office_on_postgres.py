"""Taking office on real PostgreSQL: what is recorded, who is cut off, and a database that may have forgotten."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from structlog.testing import capture_logs
from tests.support.store_rig import StoreRig

from middleman.adapters.postgres.office import PostgresOffice
from middleman.ports.errors import StaleTerm
from middleman.ports.office import DRAINED


@pytest_asyncio.fixture(loop_scope="session")
async def successor(rig: StoreRig) -> AsyncIterator[PostgresOffice]:
    """The office as another replica sees it."""
    pool = rig.database.replica_engine("successor#1")
    yield PostgresOffice(pool, uuid4)
    await pool.dispose()


async def the_term(rig: StoreRig, number: int) -> Any:
    return await rig.row("SELECT * FROM terms WHERE number = $1", number)


async def test_a_new_term_is_one_more_has_a_name_of_its_own_and_ends_the_one_before(
    rig: StoreRig, successor: PostgresOffice
) -> None:
    term = await successor.take_office(0, "successor#1", 42)
    assert (term.number, term.scope, term.holder, term.election_revision) == (
        rig.term.number + 1,
        0,
        "successor#1",
        42,
    )
    assert term.uid != rig.term.uid
    recorded = await the_term(rig, term.number)
    assert (recorded["uid"], recorded["election_revision"], recorded["ended_at"]) == (term.uid, 42, None)
    assert (await the_term(rig, rig.term.number))["end_reason"] == "superseded"
    fence = await rig.row("SELECT term, uid, holder FROM fence")
    assert tuple(fence) == (term.number, term.uid, "successor#1")


async def test_the_sessions_of_the_holder_before_are_ended_and_only_those(
    rig: StoreRig, successor: PostgresOffice
) -> None:
    bystander = rig.database.replica_engine("bystander#1")
    try:
        async with rig.pool.connect(), bystander.connect():
            with capture_logs() as logs:
                await successor.take_office(0, "successor#1", 2)
            names = await rig.owner.fetch(
                "SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE usename = 'middleman_replica'"
                " AND datname = current_database() ORDER BY 1"
            )
    finally:
        await bystander.dispose()
    assert [row["name"] for row in names] == ["bystander#1", "successor#1"]
    [entry] = [entry for entry in logs if entry["event"] == "sessions.terminated"]
    assert entry["count"] >= 1


@pytest.mark.parametrize(("reason", "ended"), [(DRAINED, False), ("the lease was not renewed in time", True)])
async def test_who_has_drained_and_said_so_ends_its_sessions_by_itself(
    rig: StoreRig, successor: PostgresOffice, reason: str, ended: bool
) -> None:
    """A holder that left for any other reason may have been cut off in the middle of a transaction."""
    await PostgresOffice(rig.pool, uuid4).leave(rig.term, reason)
    async with rig.pool.connect():
        with capture_logs() as logs:
            await successor.take_office(0, "successor#1", 2)
    assert ("sessions.terminated" in [entry["event"] for entry in logs]) is ended


async def test_a_holder_that_takes_office_again_does_not_cut_itself_off(rig: StoreRig) -> None:
    office = PostgresOffice(rig.pool, uuid4)
    async with rig.pool.connect() as own:
        again = await office.take_office(0, "leader#1", 3)
        assert not own.invalidated
        assert again.number == rig.term.number + 1
        await own.rollback()


async def test_scopes_have_fences_of_their_own(rig: StoreRig, successor: PostgresOffice) -> None:
    other = await successor.take_office(1, "successor#1", 2)
    assert (other.scope, other.number) == (1, 1)
    assert await rig.open_attempts() == []


async def test_leaving_is_recorded_once_and_only_by_the_term_itself(
    rig: StoreRig, successor: PostgresOffice
) -> None:
    office = PostgresOffice(rig.pool, uuid4)
    await office.leave(rig.term, "stopped")
    assert (await the_term(rig, rig.term.number))["end_reason"] == "stopped"
    event = await rig.row("SELECT subject, term FROM events WHERE kind = 'term.ended'")
    assert tuple(event) == ("leader#1", rig.term.number)
    with pytest.raises(StaleTerm, match="had already ended"):
        await office.leave(rig.term, "stopped")
    await successor.take_office(0, "successor#1", 2)
    with pytest.raises(StaleTerm):
        await successor.leave(rig.term, "not mine to end")


@pytest.mark.parametrize("changed", [False, True])
async def test_a_database_on_another_timeline_is_reported_loudly(
    rig: StoreRig, successor: PostgresOffice, changed: bool
) -> None:
    """After an asynchronous failover the last commits may be missing (DESIGN §2.9)."""
    if changed:
        await rig.owner.execute("UPDATE terms SET timeline = timeline + 7")
    with capture_logs() as logs:
        await successor.take_office(0, "successor#1", 2)
    reported = [entry for entry in logs if entry["event"] == "database.timeline_changed"]
    assert len(reported) == changed
    assert all(entry["log_level"] == "error" for entry in reported)
