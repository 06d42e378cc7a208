"""When a scenario may begin: one leads and charges without a backlog, everybody else is ready."""

import asyncio

from chaos.drive.eyes import AwayError, Eyes, Leader
from chaos.drive.target import Target

PATIENCE_S = 90.0
POLL_S = 0.1
CHARGING_WITHIN_S = 1.0
BACKLOG = 200

_CHARGING = """
    SELECT coalesce(max(at) > clock_timestamp() - make_interval(secs => $2), false) FROM events
    WHERE kind = 'attempt.settled' AND term = $1 AND seq > (SELECT coalesce(max(seq), 0) - 5000 FROM events)
"""
_DUE = """
    SELECT count(*) FROM subscriptions
    WHERE status = 'active' AND next_due_at <= business_now() AND (ends_at IS NULL OR next_due_at < ends_at)
"""


class UnsteadyError(Exception):
    """The system did not become steady; the message says what it lacked."""


async def until_steady(target: Target, eyes: Eyes) -> Leader:
    """Wait for a steady system; raises `UnsteadyError`."""
    missing = "nothing was looked at"
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    found = await _look(target, eyes)
                except AwayError as error:
                    found = f"the database is away ({error})"
                if isinstance(found, Leader):
                    return found
                missing = found
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise UnsteadyError(f"the system is not steady after {PATIENCE_S:g} s: {missing}") from None


async def _look(target: Target, eyes: Eyes) -> Leader | str:
    """The leader of a steady system, or what it lacks."""
    for replica in target.replicas:
        if await eyes.told(replica, "/readyz") is None:
            return f"{replica} is not ready"
    leader = await eyes.leader()
    if leader is None:
        return "nobody leads"
    if not await eyes.value(_CHARGING, leader.term, CHARGING_WITHIN_S):
        return f"{leader.name} (term {leader.term}) charges nothing"
    due = await eyes.value(_DUE)
    return f"a backlog of {due}" if due > BACKLOG else leader
