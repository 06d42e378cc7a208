"""Forgetting what nobody asks for any more: old answers, and notices long handled, deleted in small batches."""

from collections.abc import Awaitable, Callable

import structlog

from middleman.ports.accounts import Accounts, AccountsTransaction
from middleman.ports.clock import Clock
from middleman.ports.store import StoreUnavailable

KEPT_S = 25 * 3600.0  # callers are promised 24 hours
NOTICES_KEPT_S = 30 * 86400.0  # Stripe repeats a delivery for three days, and shows events for thirty
BATCH = 1000
_EVERY_S = 300.0

log = structlog.get_logger()


async def forget_old_answers(accounts: Accounts, clock: Clock, jitter: Callable[[], float]) -> None:
    """Run until cancelled. `jitter` returns 0..1, so that the API processes do not work in step."""
    while True:
        await clock.sleep(_EVERY_S * (0.5 + jitter()))
        try:
            await forget_batch_by_batch(accounts, clock)
        except StoreUnavailable as error:
            log.warning("tickets.not_forgotten", reason=str(error))


async def forget_batch_by_batch(accounts: Accounts, clock: Clock) -> int:
    """Delete what is too old, pausing between batches so that requests come first; returns how many."""
    tickets = await _batches(accounts, clock, lambda each: each.forget_tickets(KEPT_S, BATCH))
    return tickets + await _batches(accounts, clock, lambda each: each.forget_notices(NOTICES_KEPT_S, BATCH))


async def _batches(
    accounts: Accounts, clock: Clock, forget: Callable[[AccountsTransaction], Awaitable[int]]
) -> int:
    total = 0
    while True:
        gone = await accounts.transact(forget)
        total += gone
        if gone < BATCH:
            return total
        await clock.sleep(0.1)
