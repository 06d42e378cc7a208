"""Outbound webhooks: every event is delivered at least once, signed as Stripe signs, with retries.

The queue is a table, so it is bounded by the disk and survives the process; memory holds one batch. Deliveries run a
few at a time and come in any order.
"""

import asyncio
import hashlib
import hmac
import random
import time
from dataclasses import dataclass

import aiohttp
import orjson
import structlog

from stripe_sandbox.app import Sandbox
from stripe_sandbox.resources import events
from stripe_sandbox.storage import Storage

log = structlog.get_logger("stripe_sandbox")

BATCH = 64
CONCURRENCY = 8
DELIVERY_TIMEOUT_S = 10.0
FIRST_RETRY_S = 0.5
MAX_RETRY_S = 60.0
MAX_ATTEMPTS = 100
"""With a minute between the later ones, a receiver may be away for more than an hour and a half."""
IDLE_POLL_S = 5.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to deliver, the secret that signs, and which types of events; none means all of them."""

    url: str
    secret: str
    events: frozenset[str] = frozenset()

    def wants(self, event_type: str) -> bool:
        """Whether events of that type are delivered. Stripe calls the list `enabled_events`; `*` in it is all."""
        return not self.events or "*" in self.events or event_type in self.events


def sign(payload: bytes, secret: str, timestamp: int) -> str:
    """The `Stripe-Signature` header of a payload: HMAC-SHA256 over `timestamp.payload`."""
    digest = hmac.new(secret.encode(), f"{timestamp}.".encode() + payload, hashlib.sha256).hexdigest()
    return f"t={timestamp},v1={digest}"


def retry_delay_s(attempts: int) -> float:
    """How long to wait after the `attempts`-th failure: doubling, bounded, with jitter of a half either way."""
    delay_s = min(MAX_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempts - 1, 16))
    return delay_s * random.uniform(0.5, 1.5)  # noqa: S311 - jitter needs no secrecy


async def deliver_events(endpoint: Endpoint, sandbox: Sandbox, storage: Storage) -> None:
    """Delivers whatever is committed and due; runs until cancelled."""
    timeout = aiohttp.ClientTimeout(total=DELIVERY_TIMEOUT_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        while True:
            sandbox.events_committed.clear()
            due = storage.due_deliveries(time.time(), BATCH)
            if not due:
                await _wait(sandbox, storage)
                continue
            turns = asyncio.Semaphore(CONCURRENCY)

            async def one(seq: int, attempts: int, turns: asyncio.Semaphore = turns) -> int | None:
                async with turns:
                    return await _deliver(endpoint, sandbox, storage, session, seq, attempts)

            done = await asyncio.gather(*(one(seq, attempts) for seq, attempts in due))
            storage.delivered(seq for seq in done if seq is not None)


async def _wait(sandbox: Sandbox, storage: Storage) -> None:
    """Until a new event is committed or a retry falls due."""
    next_at = storage.next_delivery_at()
    wait_s = IDLE_POLL_S if next_at is None else min(IDLE_POLL_S, max(0.01, next_at - time.time()))
    try:
        async with asyncio.timeout(wait_s):
            await sandbox.events_committed.wait()
    except TimeoutError:
        return


async def _deliver(
    endpoint: Endpoint,
    sandbox: Sandbox,
    storage: Storage,
    session: aiohttp.ClientSession,
    seq: int,
    attempts: int,
) -> int | None:
    """Tries once. Gives `seq` when nothing more is to be done for it."""
    row = storage.event(seq)
    assert row is not None, "a delivery is committed with its event"
    payload = orjson.dumps(events.render(sandbox.world, row, pending_webhooks=1))
    headers = {
        "Content-Type": "application/json",
        "Stripe-Signature": sign(payload, endpoint.secret, int(time.time())),
    }
    try:
        async with session.post(endpoint.url, data=payload, headers=headers, allow_redirects=False) as answer:
            problem = None if 200 <= answer.status < 300 else f"status {answer.status}"
    except (aiohttp.ClientError, TimeoutError) as error:
        problem = type(error).__name__
    outcomes = sandbox.stats.deliveries
    if problem is None:
        outcomes["delivered"] += 1
        return seq
    outcomes["failed"] += 1
    attempts += 1
    log.warning("webhook.failed", event_id=row[1], attempts=attempts, problem=problem)
    if attempts >= MAX_ATTEMPTS:
        outcomes["given_up"] += 1
        log.error("webhook.given_up", event_id=row[1], attempts=attempts)
        return seq
    storage.postpone(seq, attempts, time.time() + retry_delay_s(attempts))
    return None
