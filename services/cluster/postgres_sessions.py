"""Sessions of a PostgreSQL server, ended from outside."""

import random
from collections.abc import Sequence

import asyncpg

_FIND = "SELECT pid FROM pg_stat_activity WHERE usename = ANY($1) ORDER BY backend_start, pid"
_END = (
    "SELECT pg_terminate_backend(pid, 500) AS gone FROM unnest($1::int[]) AS pid"  # waits so many ms for it
)


async def terminate_sessions(
    connection: "asyncpg.Connection[asyncpg.Record]",
    roles: Sequence[str],
    dice: random.Random,
    *,
    share: float | None = None,
    count: int | None = None,
) -> int:
    """Ends sessions of these roles, chosen by `dice`: a share of them, or so many; returns how many are gone.

    A share is at least one, where there is any. Raises `ValueError` unless one of both is given, above 0.
    """
    if (share is None) == (count is None):
        raise ValueError("give either share or count")
    if share is not None and not 0 < share <= 1:
        raise ValueError(f"share={share}: must be above 0 and at most 1")
    if count is not None and count < 1:
        raise ValueError(f"count={count}: must be at least 1")
    found = [row["pid"] for row in await connection.fetch(_FIND, list(roles))]
    wanted = count if count is not None else max(1, round(len(found) * (share or 0)))
    chosen = dice.sample(found, min(wanted, len(found)))
    return sum(row["gone"] for row in await connection.fetch(_END, chosen))
