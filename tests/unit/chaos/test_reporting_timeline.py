"""The time line, read from a real database."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from tests.support.database import Database

from chaos.drive.record import Fault
from chaos.reporting import timeline as reading
from chaos.reporting.spans import Bucket
from chaos.reporting.timeline import read_timeline

BEGAN_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(offset_s: float) -> datetime:
    return BEGAN_AT + timedelta(seconds=offset_s)


async def add_term(
    connection: "asyncpg.Connection[asyncpg.Record]",
    number: int,
    holder: str,
    started_s: float,
    ended_s: float | None = None,
    reason: str | None = None,
) -> None:
    await connection.execute(
        "INSERT INTO terms (scope, number, uid, holder, election_revision, timeline, started_at, ended_at, end_reason)"
        " VALUES (0, $1, $2, $3, 1, 1, $4, $5, $6)",
        *(number, uuid4(), holder, at(started_s), at(ended_s) if ended_s is not None else None, reason),
    )


async def add_event(
    connection: "asyncpg.Connection[asyncpg.Record]",
    offset_s: float,
    term: int | None,
    outcome: str,
    kind: str = "attempt.settled",
) -> None:
    await connection.execute(
        "INSERT INTO events (at, kind, term, subject, data) VALUES ($1, $2, $3, 'at_x', $4)",
        *(at(offset_s), kind, term, json.dumps({"outcome": outcome})),
    )


async def fill(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    await add_term(connection, 1, "replica-1#aa", -20, -10, "resigned")
    await add_term(connection, 2, "replica-1#bb", -9, 2.3, "superseded")
    await add_term(connection, 3, "replica-2#cc", 2.3)
    for offset_s, term, outcome in (
        (-5.0, 2, "succeeded"),
        (0.1, 2, "succeeded"),
        (0.2, 2, "declined"),
        (2.05, 2, "succeeded"),
        (2.4, 3, "succeeded"),
        (2.45, 3, "requires_action"),
        (9.5, 3, "succeeded"),
        (10.0, 3, "succeeded"),
    ):
        await add_event(connection, offset_s, term, outcome)
    await add_event(connection, 1.0, 2, "succeeded", kind="attempt.opened")


async def test_each_bucket_counts_what_each_term_settled_in_it(database: Database) -> None:
    async with database.connect() as connection:
        await fill(connection)
        line = await read_timeline(connection, at(0), at(10), [], bucket_s=1.0)
    assert line.charges == (
        Bucket(at(0), 2, succeeded=1, others=1),
        Bucket(at(2), 2, succeeded=1, others=0),
        Bucket(at(2), 3, succeeded=1, others=1),
        Bucket(at(9), 3, succeeded=1, others=0),
    )


async def test_a_term_names_its_replica_and_its_first_and_last_charge_of_the_run(database: Database) -> None:
    async with database.connect() as connection:
        await fill(connection)
        line = await read_timeline(connection, at(0), at(10), [], bucket_s=0.1)
    old, new = line.terms  # term 1 was over before
    assert (old.number, old.holder, old.reason) == (2, "replica-1", "superseded")
    assert (old.first_charge_at, old.last_charge_at, old.ended_at) == (at(0.1), at(2.05), at(2.3))
    assert (new.number, new.holder, new.reason) == (3, "replica-2", "")
    assert (new.first_charge_at, new.last_charge_at, new.ended_at) == (at(2.4), at(9.5), None)


async def test_a_take_over_counts_from_the_fault_on_the_leader(database: Database) -> None:
    fault = Fault(7, "kill-leader", "kill", "replica-1", at(2.1), {}, at(4))
    async with database.connect() as connection:
        await fill(connection)
        line = await read_timeline(connection, at(0), at(10), [fault], bucket_s=0.1)
    [takeover] = line.takeovers
    assert (takeover.victim, takeover.victim_term, takeover.successor, takeover.term) == (
        "replica-1",
        2,
        "replica-2",
        3,
    )
    assert (takeover.fault, takeover.since) == (7, at(2.1))
    assert takeover.in_office_s == pytest.approx(0.2)
    assert takeover.first_charge_s == pytest.approx(0.3)


async def test_the_judges_role_may_read_it(database: Database) -> None:
    async with database.connect() as owner:
        await fill(owner)
    async with database.connect("middleman_judge") as connection:
        line = await read_timeline(connection, at(0), at(10), [], bucket_s=1.0)
    assert sum(bucket.settled for bucket in line.charges) == 6


async def test_a_span_that_is_too_long_gets_wider_buckets(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_BUCKETS", 5)
    async with database.connect() as connection:
        await fill(connection)
        line = await read_timeline(connection, at(0), at(10), [], bucket_s=1.0)
    assert line.bucket_s == 2.0
    assert [bucket.starts_at for bucket in line.charges] == [at(0), at(2), at(2), at(8)]
    assert sum(bucket.settled for bucket in line.charges) == 6


async def test_a_run_in_which_nothing_happened_has_an_empty_time_line(database: Database) -> None:
    async with database.connect() as connection:
        line = await read_timeline(connection, at(0), at(10), [], bucket_s=1.0)
    assert (line.charges, line.terms, line.takeovers) == ((), (), ())


@pytest.mark.parametrize(("ended_s", "bucket_s"), [(0.0, 1.0), (-1.0, 1.0), (10.0, 0.0)])
async def test_a_span_without_length_is_refused(ended_s: float, bucket_s: float) -> None:
    nothing: Any = None  # refused before anything is asked
    with pytest.raises(ValueError, match="nothing in it"):
        await read_timeline(nothing, at(0), at(ended_s), [], bucket_s=bucket_s)
