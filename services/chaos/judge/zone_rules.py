"""The time zone rules of the database server, asked of it, and compared with this machine's.

Two machines rarely have the same release of the time zone data, and the product counts with the server's. A judge that
counts with its own calls a right system wrong as soon as a government changes a rule. So the judge asks the server for
the offsets of each zone at instants (never for a period of the product), and does its own arithmetic with them.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    import asyncpg

_SHOWN = 3
_MARGIN = timedelta(days=3)
_FARTHEST = timedelta(days=120 * 366)
_STEP = timedelta(days=7)  # no zone changes its offset and changes it back within a week

_ZONES = (
    "SELECT time_zone, min(anchor_local) AS first FROM subscriptions GROUP BY time_zone ORDER BY time_zone"
)
_LAST = "SELECT greatest(business_now(), max(period_end)) FROM invoices"

# Where the offset of zone $1 changes between $2 and $3: found by weeks, then halved down to the second.
_CHANGES = """
    WITH RECURSIVE sample AS (
        SELECT at, (at AT TIME ZONE $1) - (at AT TIME ZONE 'UTC') AS shift
        FROM generate_series($2::timestamptz, $3::timestamptz + interval '168 hours', interval '168 hours') AS at
    ), span AS (
        SELECT lag(at) OVER by_time AS early, at AS late, lag(shift) OVER by_time AS before, shift
        FROM sample WINDOW by_time AS (ORDER BY at)
    ), halved (early, late, before) AS (
        SELECT early, late, before FROM span WHERE before <> shift
        UNION ALL
        SELECT CASE WHEN half.same THEN half.middle ELSE h.early END,
               CASE WHEN half.same THEN h.late ELSE half.middle END, h.before
        FROM halved h,
             LATERAL (SELECT date_trunc('second', h.early + (h.late - h.early) / 2) AS middle) m,
             LATERAL (SELECT m.middle,
                             (m.middle AT TIME ZONE $1) - (m.middle AT TIME ZONE 'UTC') = h.before AS same) half
        WHERE h.late - h.early > interval '1 second'
    )
    SELECT at, (at AT TIME ZONE $1) - (at AT TIME ZONE 'UTC') AS shift FROM (
        SELECT $2::timestamptz AS at UNION ALL SELECT late FROM halved WHERE late - early <= interval '1 second'
    ) change ORDER BY at
"""


@dataclass(frozen=True, eq=False)
class ZoneRules:
    """Offsets of one zone by the server: `offsets[i]` holds from `instants[i]` on, and the last one until `until`.

    Outside of that this machine's data are asked. `differs_at` is the first instant found at which the two differ.
    """

    name: str
    instants: tuple[datetime, ...]
    offsets: tuple[timedelta, ...]
    until: datetime
    differs_at: datetime | None

    def offset_at(self, instant: datetime) -> timedelta:
        """What the zone's clocks show beyond UTC at an instant."""
        if not self.instants[0] <= instant < self.until:
            by_machine = machine_offset(self.name, instant)
            return self.offsets[0 if instant < self.until else -1] if by_machine is None else by_machine
        return self.offsets[bisect_right(self.instants, instant) - 1]

    def instant_of(self, wall: datetime) -> datetime:
        """The instant (UTC) at which the zone's clocks show `wall`; of a skipped or repeated one the later."""
        naive = wall.replace(tzinfo=UTC)
        near = {self.offset_at(naive + timedelta(hours=hours)) for hours in (-26, 0, 26)}
        right = {offset for offset in near if self.offset_at(naive - offset) == offset}
        return naive - min(right or near)


def machine_offset(name: str, instant: datetime) -> timedelta | None:
    """The same by this machine's data; None where they have no such zone."""
    try:
        return instant.astimezone(ZoneInfo(name)).utcoffset()
    except (KeyError, ValueError, OSError, OverflowError):
        return None


async def read_zone_rules(connection: "asyncpg.Connection[Any]") -> dict[str, ZoneRules | None]:
    """The server's rules for every zone of a subscription; None for one that the server does not know.

    Runs in the caller's read-only transaction.
    """
    import asyncpg

    last: datetime = await connection.fetchval(_LAST)
    found: dict[str, ZoneRules | None] = {}
    for name, first in await connection.fetch(_ZONES):
        start = first.replace(tzinfo=UTC, microsecond=0) - _MARGIN
        end = min(max(last, start) + _MARGIN, start + _FARTHEST)
        try:
            async with connection.transaction():  # a savepoint: an unknown zone fails its own query only
                rows = await connection.fetch(_CHANGES, name, start, end)
        except (asyncpg.InvalidParameterValueError, asyncpg.DataError):
            found[name] = None
            continue
        instants, offsets = tuple(row["at"] for row in rows), tuple(row["shift"] for row in rows)
        known = ZoneRules(name, instants, offsets, end, None)
        found[name] = ZoneRules(name, instants, offsets, end, _first_difference(known, start, end))
    return found


def _first_difference(rules: ZoneRules, start: datetime, end: datetime) -> datetime | None:
    weeks = (start + number * _STEP for number in range(int((end - start) / _STEP) + 1))
    changes = (at - before for at in rules.instants[1:] for before in (timedelta(seconds=1), timedelta(0)))
    differing = (at for at in (*weeks, *changes) if machine_offset(rules.name, at) != rules.offset_at(at))
    return min(differing, default=None)


def compared(rules: Mapping[str, ZoneRules | None]) -> str:
    """What an operator should know of the two machines' data; empty where they are the same."""
    differing = [each for each in rules.values() if each is not None and each.differs_at is not None]
    unknown = [name for name, each in rules.items() if each is None]
    parts = []
    if differing:
        shown = ", ".join(f"{each.name} from {each.differs_at:%Y-%m-%d} on" for each in differing[:_SHOWN])
        parts.append(
            f"the time zone data of the database server and of this machine differ for {shown}{_more(differing)}: "
            "judged by the server's; bring both to the same release of tzdata"
        )
    if unknown:
        shown = ", ".join(unknown[:_SHOWN])
        parts.append(
            f"the database server does not know {shown}{_more(unknown)}: judged by this machine's data"
        )
    return "; ".join(parts)


def _more(listed: Sequence[object]) -> str:
    return f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
