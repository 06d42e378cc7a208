"""Our boundaries are PostgreSQL's: ``(anchor + n × interval) AT TIME ZONE tz``, over thousands of dates."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncpg

from cluster.postgres import PostgresServer
from middleman.domain.periods import BillingInterval, IntervalUnit, Schedule
from middleman.entrypoints.api.fields import time_zones

# Guarantee: the boundary of a period, computed from the anchor; the same expression as in the claim.
BOUNDARIES = """
SELECT (anchor + make_interval(years => years, months => months, weeks => weeks, days => days))
       AT TIME ZONE tz
  FROM unnest($1::timestamp[], $2::text[], $3::int[], $4::int[], $5::int[], $6::int[])
       WITH ORDINALITY AS t (anchor, tz, years, months, weeks, days, line)
 ORDER BY line
"""

# Zones whose rules are settled; those decreed anew every year (Casablanca, Cairo) depend on the tzdata release.
ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Chatham",
]

Boundary = tuple[Schedule, int]


def _local(*parts: int) -> datetime:
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001 -- six integers; naive by definition


def _boundaries() -> Iterator[Boundary]:
    ends_of_months = [_local(2024, 1, 31), _local(2024, 2, 29, 2, 30), _local(2025, 8, 31, 23, 59, 59)]
    for zone in ZONES:
        for anchor in ends_of_months:
            for unit, count, steps in (
                (IntervalUnit.MONTH, 1, 121),
                (IntervalUnit.MONTH, 5, 25),
                (IntervalUnit.YEAR, 1, 11),
                (IntervalUnit.WEEK, 3, 40),
                (IntervalUnit.DAY, 17, 40),
            ):
                schedule = Schedule(anchor, zone, BillingInterval(unit, count))
                yield from ((schedule, n) for n in range(steps))
        # Each quarter of an hour around both changes of clocks of 2026, wherever they are.
        for first in (_local(2026, 3, 7, 22), _local(2026, 3, 28, 22), _local(2026, 10, 3, 22)):
            for step in range(4 * 10):
                at = first + timedelta(minutes=15 * step)
                yield Schedule(at, zone, BillingInterval(IntervalUnit.DAY)), 0
                yield Schedule(at, zone, BillingInterval(IntervalUnit.DAY)), 1
                yield Schedule(at, zone, BillingInterval(IntervalUnit.WEEK)), 4
                yield Schedule(at, zone, BillingInterval(IntervalUnit.WEEK)), 31
    samoa = Schedule(_local(2011, 12, 25, 9, 30), "Pacific/Apia", BillingInterval(IntervalUnit.DAY))
    yield from ((samoa, n) for n in range(10))


def _steps(boundary: Boundary, unit: IntervalUnit) -> int:
    schedule, n = boundary
    return n * schedule.interval.count if schedule.interval.unit is unit else 0


async def test_thousands_of_boundaries_are_those_that_postgres_computes(
    postgres_server: PostgresServer,
) -> None:
    boundaries = list(_boundaries())
    assert len(boundaries) > 10_000

    connection = await asyncpg.connect(postgres_server.dsn())
    try:
        rows = await connection.fetch(
            BOUNDARIES,
            [schedule.anchor_local for schedule, _ in boundaries],
            [schedule.time_zone for schedule, _ in boundaries],
            *(
                [_steps(boundary, unit) for boundary in boundaries]
                for unit in (IntervalUnit.YEAR, IntervalUnit.MONTH, IntervalUnit.WEEK, IntervalUnit.DAY)
            ),
        )
    finally:
        await connection.close()

    different = [
        (schedule, n, row[0], schedule.boundary(n))
        for (schedule, n), row in zip(boundaries, rows, strict=True)
        if row[0].astimezone(UTC) != schedule.boundary(n)
    ]
    assert different == []


async def test_every_accepted_time_zone_means_to_postgres_what_it_means_to_us(
    postgres_server: PostgresServer,
) -> None:
    # One instant on each side of the change of clocks. PostgreSQL takes a few names for abbreviations, which
    # have no summer time, before it looks for a zone. 2021, since tzdata releases differ about the years to come.
    instants = [_local(2021, 1, 15, 12), _local(2021, 7, 15, 12)]
    wanted = [
        Schedule(at, zone, BillingInterval(IntervalUnit.DAY))
        for zone in sorted(time_zones())
        for at in instants
    ]
    assert len(wanted) > 1000

    connection = await asyncpg.connect(postgres_server.dsn())
    try:
        zeros = [0] * len(wanted)
        anchors, zones = [each.anchor_local for each in wanted], [each.time_zone for each in wanted]
        rows = await connection.fetch(BOUNDARIES, anchors, zones, zeros, zeros, zeros, zeros)
    finally:
        await connection.close()

    different = {
        each.time_zone
        for each, row in zip(wanted, rows, strict=True)
        if row[0].astimezone(UTC) != each.boundary(0)
    }
    assert different == set()
