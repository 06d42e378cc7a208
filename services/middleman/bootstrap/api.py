"""The REST API, put together."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.postgres.accounts import PostgresAccounts
from middleman.adapters.postgres.api_keys import PostgresCallers
from middleman.adapters.postgres.notices import PostgresNotices
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.records import PostgresRecords
from middleman.adapters.stripe.webhooks import StripeNotices
from middleman.adapters.system_clock import SystemClock
from middleman.adapters.ulid import new_id
from middleman.billing.accounts import Customers, Plans
from middleman.billing.once import Once
from middleman.billing.subscriptions import Subscriptions
from middleman.bootstrap.database import database_pool
from middleman.bootstrap.processor import processor
from middleman.ports.accounts import Accounts
from middleman.ports.api_keys import Callers
from middleman.ports.clock import Clock
from middleman.ports.new_id import NewId
from middleman.ports.notices import NoticeReader, Notices
from middleman.ports.processor import PaymentProcessor
from middleman.ports.records import Records
from middleman.settings import ApiSettings

PROCESSOR_CONCURRENCY = 64
PROCESSOR_WAITING = 64
"""Requests that wait for a connection to the processor. With those at work they are a quarter of what may be in flight, so
that a processor that never answers leaves room for the others."""


@dataclass(frozen=True, slots=True)
class ApiParts:
    """Everything that one API process works with. Without a `notice_reader` it takes no webhooks."""

    accounts: Accounts
    records: Records
    callers: Callers
    once: Once
    customers: Customers
    plans: Plans
    subscriptions: Subscriptions
    notice_reader: NoticeReader | None
    notices: Notices
    new_id: NewId
    clock: Clock
    pool_size: int
    warm: Callable[[], Coroutine[Any, Any, None]]
    close: Callable[[], Awaitable[None]]


def build_api(settings: ApiSettings) -> ApiParts:
    """From settings. Call it inside a running event loop; settings that cannot be used exit with status 2."""
    pool = database_pool(
        settings.database_url, application_name="middleman-api", pool_size=settings.api_pool_size
    )
    return assemble_api(
        pool,
        processor(settings, concurrency=PROCESSOR_CONCURRENCY, max_waiting=PROCESSOR_WAITING),
        settings.api_pool_size,
        webhook_secrets=settings.webhook_secrets,
    )


def assemble_api(
    pool: AsyncEngine,
    payment_processor: PaymentProcessor,
    pool_size: int,
    make_id: NewId = new_id,
    *,
    patience_s: float = 10.0,
    webhook_secrets: Sequence[str] = (),
) -> ApiParts:
    """From a pool and a processor that exist already; `close` closes both.

    `patience_s` is the longest that a transaction may take; a read gets half of it. Without `webhook_secrets` no
    webhooks are taken.
    """
    accounts = PostgresAccounts(pool, timeout_s=patience_s)
    # Reads are single statements: in autocommit they cost one round trip instead of three.
    reader = Reader(pool.execution_options(isolation_level="AUTOCOMMIT"), timeout_s=patience_s / 2)
    records = PostgresRecords(reader)
    once = Once(accounts, make_id)

    async def warm() -> None:
        # The first requests then wait for no handshake; when a server is away they find out themselves.
        await records.ready()
        await payment_processor.warm(4)

    async def close() -> None:
        await payment_processor.close()
        await pool.dispose()

    return ApiParts(
        accounts=accounts,
        records=records,
        callers=PostgresCallers(reader),
        once=once,
        customers=Customers(once, records, payment_processor),
        plans=Plans(once),
        subscriptions=Subscriptions(once),
        notice_reader=StripeNotices(webhook_secrets) if webhook_secrets else None,
        notices=PostgresNotices(pool, timeout_s=patience_s / 2),
        new_id=make_id,
        clock=SystemClock(),
        pool_size=pool_size,
        warm=warm,
        close=close,
    )
