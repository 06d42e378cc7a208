"""Forgetting old answers: tickets are kept for a day at least, then deleted in small batches."""

from collections.abc import Callable

import structlog

from middleman.ports.accounts import Accounts
from middleman.ports.clock import Clock
from middleman.ports.store import StoreUnavailable

KEPT_S = 25 * 3600.0  # callers are promised 24 hours
BATCH = 1000
_EVERY_S = 300.0

log = structlog.get_logger()


async def forget_old_tickets(accounts: Accounts, clock: Clock, jitter: Callable[[], float]) -> None:
    """Run until cancelled. `jitter` returns 0..1, so that the API processes do not work in step."""
    while True:
        await clock.sleep(_EVERY_S * (0.5 + jitter()))
        try:
            await forget_batch_by_batch(accounts, clock)
        except StoreUnavailable as error:
            log.warning("tickets.not_forgotten", reason=str(error))


async def forget_batch_by_batch(accounts: Accounts, clock: Clock) -> int:
    """Delete what is too old, pausing between batches so that requests come first; returns how many."""
    total = 0
    while True:
        gone = await accounts.transact(lambda transaction: transaction.forget_tickets(KEPT_S, BATCH))
        total += gone
        if gone < BATCH:
            return total
        await clock.sleep(0.1)
