"""The whole pipeline in this process, between a real store and a processor in memory."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from middleman.adapters.postgres.store import PostgresStore
from middleman.adapters.system_clock import SystemClock
from middleman.billing.clock_check import ProcessorClock
from middleman.billing.names import StableNames
from middleman.billing.pipeline import Pipeline, PipelineLimits
from middleman.billing.rate_limit import LimiterTuning, RateLimiter
from middleman.domain.ids import ProcessorCustomerId
from middleman.ports.failpoints import NO_FAILPOINTS
from middleman.ports.trust import TrustWindow
from tests.support.database import add_subscriptions
from tests.support.fake_processor import FakeProcessor
from tests.support.pipeline_rig import CountingObserver, a_clock_check, lasting_trust, no_clock
from tests.support.store_rig import POLICY, StoreRig

LIMITS = PipelineLimits(
    concurrency=16,
    in_flight=200,
    claim_batch=25,
    flush_batch=25,
    flush_linger_s=0.002,
    idle_poll_s=0.02,
    max_overdue=1000,
)
DEADLINE_S = 20.0
QUICK_TO_FORGIVE = LimiterTuning(floor_per_s=200)  # a 429 slows down, but not the test


@dataclass(slots=True)
class Leading:
    """A pipeline that leads: set `draining` to ask it to stop."""

    task: "asyncio.Task[None]"
    draining: asyncio.Event
    trust: TrustWindow
    observer: CountingObserver


@dataclass(slots=True)
class Works:
    """The store's rig with a processor, and pipelines between them."""

    rig: StoreRig
    processor: FakeProcessor
    limits: PipelineLimits = LIMITS
    processor_clock: ProcessorClock = no_clock

    async def subscribe(
        self, count: int, *, prefix: str = "s", due_in: str = "-1 hour", interval: str = "month"
    ) -> None:
        await add_subscriptions(self.rig.owner, count, prefix=prefix, due_in=due_in, interval=interval)
        for number in range(1, count + 1):
            self.processor.know_customer(ProcessorCustomerId(f"cus_{prefix}{number}"))

    def lead(self, rig: StoreRig | None = None) -> Leading:
        """Start a pipeline on the rig's term."""
        rig = rig or self.rig
        clock, observer = SystemClock(), CountingObserver()
        pipeline = Pipeline(
            store=PostgresStore(rig.pool, NO_FAILPOINTS),
            processor=self.processor,
            limiter=RateLimiter(clock, tuning=QUICK_TO_FORGIVE),
            policy=POLICY,
            names=StableNames(),
            limits=self.limits,
            clock=clock,
            uniform=random.Random(7).random,
            failpoints=NO_FAILPOINTS,
            observer=observer,
            clock_check=a_clock_check(clock, self.processor_clock, observer),
        )
        trust, draining = lasting_trust(clock), asyncio.Event()
        task = asyncio.create_task(pipeline(rig.term, trust, draining))
        return Leading(task, draining, trust, observer)

    @asynccontextmanager
    async def leading(self) -> AsyncIterator[Leading]:
        """A pipeline that is drained on the way out; what ended it is raised."""
        leading = self.lead()
        try:
            yield leading
            leading.draining.set()
            async with asyncio.timeout(DEADLINE_S):
                await leading.task
        finally:
            leading.task.cancel()
            await asyncio.gather(leading.task, return_exceptions=True)

    async def count(self, status: str = "paid") -> int:
        found: int = await self.rig.owner.fetchval("SELECT count(*) FROM invoices WHERE status = $1", status)
        return found

    async def until(self, status: str, count: int, leading: Leading | None = None) -> None:
        """Wait until so many invoices have the status; what ends the pipeline meanwhile is raised."""
        async with asyncio.timeout(DEADLINE_S):
            while await self.count(status) < count:
                if leading is not None and leading.task.done():
                    leading.task.result()
                await asyncio.sleep(0.01)

    async def until_some(self, query: str) -> None:
        """Wait until the query counts more than none."""
        async with asyncio.timeout(DEADLINE_S):
            while not await self.rig.owner.fetchval(query):  # noqa: ASYNC110  # the database sets no events of ours
                await asyncio.sleep(0.01)

    async def assert_each_paid_once(self, count: int) -> None:
        rows = await self.rig.owner.fetch("SELECT * FROM invoices WHERE status = 'paid'")
        assert len(rows) == count
        assert set(self.processor.paid_intents()) == {row["payment_intent_id"] for row in rows}
        names = [intent.metadata["invoice_id"] for intent in self.processor.intents.values()]
        assert len(names) == len(set(names)), "one payment intent per invoice"
