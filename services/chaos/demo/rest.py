"""Coming to rest: nothing due, nothing open, nothing left to retry."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg

POLL_S = 0.2

_UNREST = """
    SELECT
        (SELECT count(*) FROM subscriptions
         WHERE status = 'active' AND next_due_at <= business_now()
           AND (ends_at IS NULL OR next_due_at < ends_at)) AS due,
        (SELECT count(*) FROM payment_attempts WHERE status = 'open') AS open_attempts,
        (SELECT count(*) FROM invoices
         WHERE status = 'open' AND next_attempt_at <= business_now()) AS retries_due
"""


@dataclass(frozen=True, slots=True)
class Unrest:
    """What still moves."""

    due: int
    open_attempts: int
    retries_due: int

    def __bool__(self) -> bool:
        return bool(self.due or self.open_attempts or self.retries_due)

    def __str__(self) -> str:
        return f"{self.due} due, {self.open_attempts} attempts open, {self.retries_due} retries due"


async def unrest(connection: "asyncpg.Connection[Any]") -> Unrest:
    """What still moves now, by the product's own account; only the judge's account counts in the end."""
    return Unrest(*await connection.fetchrow(_UNREST))


async def come_to_rest(connection: "asyncpg.Connection[Any]", timeout_s: float) -> Unrest:
    """Wait, at most so long, until nothing moves; what still did at the end."""
    left = await unrest(connection)
    try:
        async with asyncio.timeout(timeout_s):
            while left:
                await asyncio.sleep(POLL_S)
                left = await unrest(connection)
    except TimeoutError:
        return left
    return left
