"""Reads a time line from the database, in one read-only snapshot."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from chaos.drive.record import Fault
from chaos.reporting.spans import Bucket, TermSpan, Timeline
from chaos.reporting.takeovers import takeovers

if TYPE_CHECKING:
    import asyncpg

MAX_BUCKETS = 100_000
MAX_TERMS = 10_000
QUERY_TIMEOUT_S = 60.0

# One pass over the events of the run; a bucket in which two terms settled has a row for each.
_CHARGES = """
    SELECT floor(extract(epoch FROM at - $1) / $3::float8)::bigint AS bucket, term,
           count(*) FILTER (WHERE data->>'outcome' = 'succeeded') AS succeeded, count(*) AS settled,
           min(at) AS first_at, max(at) AS last_at
    FROM events
    WHERE kind = 'attempt.settled' AND term IS NOT NULL AND at >= $1 AND at < $2
    GROUP BY 1, 2 ORDER BY 1, 2 LIMIT $4
"""
_TERMS = """
    SELECT number, holder, started_at, ended_at, end_reason FROM terms
    WHERE scope = 0 AND started_at < $2 AND (ended_at IS NULL OR ended_at >= $1)
    ORDER BY number LIMIT $3
"""


async def read_timeline(
    connection: "asyncpg.Connection[Any]",
    began_at: datetime,
    ended_at: datetime,
    faults: Iterable[Fault],
    *,
    bucket_s: float,
) -> Timeline:
    """What happened in `[began_at, ended_at)`, by the database's clock. Any role that may read will do.

    `bucket_s` is doubled until no more than `MAX_BUCKETS` cover the span; the time line says what it came to.
    Raises `ValueError` for a span without length.
    """
    span_s = (ended_at - began_at).total_seconds()
    if span_s <= 0 or bucket_s <= 0:
        raise ValueError(
            f"no time line from {began_at} to {ended_at} in buckets of {bucket_s} s: nothing in it"
        )
    while math.ceil(span_s / bucket_s) > MAX_BUCKETS:
        bucket_s *= 2
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        charges = await connection.fetch(
            _CHARGES, began_at, ended_at, bucket_s, MAX_BUCKETS + MAX_TERMS, timeout=QUERY_TIMEOUT_S
        )
        rows = await connection.fetch(_TERMS, began_at, ended_at, MAX_TERMS, timeout=QUERY_TIMEOUT_S)
    charged: defaultdict[int, list[Any]] = defaultdict(list)
    for row in charges:
        charged[row["term"]].append(row)
    terms = tuple(_term(row, charged[row["number"]]) for row in rows)
    return Timeline(
        began_at=began_at,
        ended_at=ended_at,
        bucket_s=bucket_s,
        charges=tuple(
            Bucket(
                starts_at=began_at + timedelta(seconds=row["bucket"] * bucket_s),
                term=row["term"],
                succeeded=row["succeeded"],
                others=row["settled"] - row["succeeded"],
            )
            for row in charges
        ),
        terms=terms,
        takeovers=takeovers(terms, faults),
    )


def _term(row: Any, charges: Sequence[Any]) -> TermSpan:
    return TermSpan(
        number=row["number"],
        holder=row["holder"].partition("#")[0],
        started_at=row["started_at"],
        first_charge_at=min((each["first_at"] for each in charges), default=None),
        last_charge_at=max((each["last_at"] for each in charges), default=None),
        ended_at=row["ended_at"],
        reason=row["end_reason"] or "",
    )
