"""What several scenarios about leaders look at: who felt whom, how a term ended, what a stale term still wrote."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from chaos.drive.eyes import CONNECT_TIMEOUT_S, Leader, until
from chaos.drive.record import Fault
from chaos.drive.stage import PATIENCE_S, NotSeenError, Stage

_HOLDER = "SELECT holder FROM fence WHERE scope = 0"
_OPEN = "SELECT id FROM payment_attempts WHERE status = 'open'"
_NOT_SETTLED_LATER = """
    SELECT count(*) FROM payment_attempts WHERE id = ANY($1::text[]) AND coalesce(settled_term, 0) <= $2
"""
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'middleman_replica'"
# By the instants of the commits: `at` is that of the INSERT, and a transaction that slept since commits late all the same.
_LATE = """
    SELECT e.kind, count(*) FROM events e JOIN events office ON office.kind = 'term.started' AND office.term = $2
    WHERE e.term = $1 AND e.kind <> 'term.ended' AND (office.data ->> 'scope')::int = 0
      AND coalesce(pg_xact_commit_timestamp(e.xmin) > pg_xact_commit_timestamp(office.xmin), e.at > office.at)
    GROUP BY e.kind ORDER BY e.kind
"""
_PAUSES = """
    SELECT extract(epoch FROM at - lag(at, 1, $1::timestamptz) OVER (ORDER BY at))::float8 AS pause_s FROM (
        SELECT at FROM events WHERE kind = 'attempt.settled' AND at BETWEEN $1 AND $2 UNION ALL SELECT $2
    ) settled
"""
_BECOME_STALE = """
    SELECT set_config('middleman.scope', '0', true), set_config('middleman.term', number::text, true),
           set_config('middleman.term_uid', uid::text, true)
    FROM terms WHERE scope = 0 AND number = $1
"""
_STALE_WRITE = "UPDATE payment_attempts SET unknown_reason = 'typed by hand' WHERE false"
"""Touches no row; the fence is asked before any row is looked at."""

STALE = ("lease", "refused", "election key")
"""What a leader may say that slept through its successor's election: whichever of its guards it ran into first."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a replica said that its term ended; instants by its own log."""

    at: datetime
    reason: str


def others(stage: Stage, *but: str) -> list[str]:
    """Every replica but these."""
    return [name for name in stage.target.replicas if name not in but]


async def felt(stage: Stage, leader: Leader) -> None:
    """Wait until every other replica feels the leader's pulse; raises `NotSeenError`."""
    holder = await stage.eyes.value(_HOLDER)

    async def look() -> bool | None:
        feeling = [
            name
            for name in others(stage, leader.name)
            if any(
                line["event"] == "pulse.felt" and line["leader"] == holder for line in stage.target.log(name)
            )
        ]
        return len(feeling) == len(stage.target.replicas) - 1 or None

    try:
        await until(look, PATIENCE_S)
    except TimeoutError:
        raise NotSeenError(f"not everybody feels the pulse of {leader.name}") from None


def revocations(stage: Stage, fault: Fault) -> list[dict[str, Any]]:
    """What followers logged about leases that they took from a leader since the fault began; the first to do it."""
    return [
        line | {"by": name}
        for name in stage.target.replicas
        for line in stage.eyes.logged(name, "leader.revoked", since=fault.began_at, first=True)
    ]


async def expect_stood_down(
    stage: Stage, leader: Leader, *faults: Fault, words: Sequence[str], patience_s: float = PATIENCE_S
) -> Ended:
    """Note that the leader itself says that its term is over, for a reason with one of these words in it."""
    expected = f"{leader.name} says that its term {leader.term} is over: {' or '.join(words)}"

    async def look() -> Ended | None:
        lines = stage.eyes.logged(leader.name, "term.ended", since=faults[0].began_at, token=leader.term)
        return Ended(datetime.fromisoformat(lines[0]["timestamp"]), lines[0]["reason"]) if lines else None

    try:
        ended = await until(look, patience_s)
    except TimeoutError:
        stage.observe(expected, False, f"not within {patience_s:g} s", *faults)
        raise AssertionError("observe raises") from None
    stage.observe(expected, any(word in ended.reason for word in words), ended.reason, *faults)
    return ended


async def observe_silence(stage: Stage, stale: Leader, successor: Leader, *faults: Fault) -> None:
    """Note that the stale term wrote nothing once its successor's had begun."""
    late = await stage.eyes.fetch(_LATE, stale.term, successor.term)
    told = ", ".join(f"{row['count']} x {row['kind']}" for row in late)
    stage.observe(
        f"term {stale.term} wrote nothing after term {successor.term} began",
        not late,
        told or "nothing",
        *faults,
    )


async def began(stage: Stage, term: int) -> datetime:
    """When a term began, by the database's clock."""
    [row] = await stage.eyes.terms(after=term - 1)
    return row.started_at


async def open_attempts(stage: Stage) -> list[str]:
    """The attempts without an outcome so far."""
    return [row["id"] for row in await stage.eyes.fetch(_OPEN)]


async def no_sessions(stage: Stage) -> bool | None:
    """Whether no replica has a session at the database any more."""
    return not await stage.eyes.value(_SESSIONS) or None


async def expect_settled_later(stage: Stage, attempts: Sequence[str], stale: Leader, *faults: Fault) -> None:
    """Note that each of these attempts has an outcome, and that a term after the stale one settled it."""

    async def look() -> bool | None:
        return not await stage.eyes.value(_NOT_SETTLED_LATER, list(attempts), stale.term) or None

    await stage.expect(
        f"what term {stale.term} left open is settled by a later term",
        look,
        *faults,
        tell=lambda _: f"all {len(attempts)} attempts",
    )


async def pauses_s(stage: Stage, since: datetime, to: datetime) -> list[float]:
    """The pauses between settled attempts in between, from `since` to the first and from the last to `to` too."""
    return [row["pause_s"] for row in await stage.eyes.fetch(_PAUSES, since, to)]


async def stale_write(stage: Stage, term: int) -> str:
    """Write a money table in that term's name, under the application's role; how the database refused, or nothing."""
    connection = await asyncpg.connect(stage.target.access.database_url, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute("SET ROLE middleman_replica; BEGIN")
        await connection.fetch(_BECOME_STALE, term)
        await connection.execute(_STALE_WRITE)
    except asyncpg.PostgresError as error:
        return str(error).partition("\n")[0]
    finally:
        connection.terminate()  # which rolls back
    return ""


def seconds_between(earlier: datetime, later: datetime) -> float:
    """How much later."""
    return (later - earlier).total_seconds()
