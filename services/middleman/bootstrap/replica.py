"""One replica, put together."""

import asyncio
import random
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from middleman.adapters.etcd.config import EtcdConfig, EtcdTls
from middleman.adapters.etcd.coordinator import EtcdCoordinator
from middleman.adapters.failpoints import ProcessFailpoints
from middleman.adapters.postgres.due_lag import DueLag
from middleman.adapters.postgres.heartbeat import Heartbeat, warm_pool
from middleman.adapters.postgres.office import PostgresOffice
from middleman.adapters.postgres.parked import Parked, ParkedCount
from middleman.adapters.postgres.reading import Reader
from middleman.adapters.postgres.records import database_trouble
from middleman.adapters.postgres.rehearsal import Rehearsal
from middleman.adapters.postgres.store import PostgresStore
from middleman.adapters.postgres.withheld import Withheld, WithheldCount
from middleman.adapters.pulse import HttpPulse
from middleman.adapters.system_clock import SystemClock
from middleman.billing.clock_check import ClockCheck
from middleman.billing.collect import Collector
from middleman.billing.names import RequestNames, StableNames
from middleman.billing.observer import BillingObserver
from middleman.billing.pipeline import Pipeline, PipelineLimits
from middleman.billing.rate_limit import LimiterTuning, RateLimiter
from middleman.bootstrap.database import database_pool
from middleman.bootstrap.processor import processor
from middleman.bootstrap.unsafe import IntentPerAttempt, IntentPerAttemptNames, TermInKey
from middleman.domain.dunning import DunningPolicy
from middleman.leadership.observer import Observer
from middleman.leadership.pulse import CandidateName, PulseWatch
from middleman.leadership.replica import Replica
from middleman.leadership.timing import LeaseTiming, LifeTiming, lease_errors, life_errors
from middleman.ports.clock import Clock
from middleman.ports.coordinator import Coordinator
from middleman.ports.errors import CoordinatorMisconfigured, CoordinatorUnavailable
from middleman.ports.failpoints import NO_FAILPOINTS, Failpoints
from middleman.ports.processor import PaymentProcessor
from middleman.settings import ReplicaSettings, refuse

log = structlog.get_logger(__name__)

MeasureT = TypeVar("MeasureT")

_BEAT_INTERVAL_S = 1.0
_LAG_INTERVAL_S = 3.0
_CLOCK_INTERVAL_S = 5.0
_CLOCK_RETRY_S = 30.0
_WARM_RETRY_S = 0.5
_WARM_AGAIN_S = 20.0  # sooner than a connection to the processor is closed for want of use


@dataclass(slots=True)
class ReplicaProcess:
    """Everything that one replica process owns."""

    holder: str
    life: Replica
    leader_watch: PulseWatch | None
    coordinator: Coordinator
    payment_processor: PaymentProcessor
    clock_check: ClockCheck
    pool: AsyncEngine
    rehearsal: Rehearsal
    heartbeat: Heartbeat
    due_lag: DueLag
    parked_count: ParkedCount
    withheld_count: WithheldCount
    warm_sessions: int
    warm_connections: int
    warm: bool = field(default=False, init=False)

    async def check(self) -> None:
        """Refuse to start with settings that etcd will never accept; an etcd that is away is waited for."""
        try:
            await self.coordinator.check()
        except CoordinatorMisconfigured as error:
            refuse(f"MIDDLEMAN_ETCD_ENDPOINTS, MIDDLEMAN_ETCD_USER or MIDDLEMAN_LEASE_TTL_S: {error}")
        except CoordinatorUnavailable as error:
            log.warning("coordinator.unavailable", error=str(error))

    async def database_trouble(self) -> str | None:
        """Why the database cannot be worked with, for the readiness probe; None when it can."""
        return await database_trouble(Reader(self.pool.execution_options(isolation_level="AUTOCOMMIT")))

    async def keep_warm(self, leads: Callable[[], bool]) -> None:
        """Have everything ready for a first charge, and keep it so; who leads is kept warm by what it does.

        Sessions and connections are open, and each session has rehearsed what a term does. Connections that
        nobody uses are closed after a while, the server forgets plans when its statistics change, and a term that
        was taken from us has cost us our sessions.
        """
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            if self.warm and leads():
                due_s = loop.time()  # that is, as soon as the term has ended
            elif loop.time() >= due_s:
                try:
                    await self._warm_up()
                    due_s = loop.time() + _WARM_AGAIN_S
                except Exception as error:  # noqa: BLE001 -- see _told
                    log.warning("replica.not_warm", error=_told(error))
            await asyncio.sleep(_WARM_RETRY_S)

    async def _warm_up(self) -> None:
        await warm_pool(self.pool, self.warm_sessions)
        await self.payment_processor.warm(self.warm_connections)
        for _ in range(self.warm_sessions):
            await self.rehearsal.play(once=self.warm)
        if not self.warm:
            self.warm = True
            log.info("replica.warm", sessions=self.warm_sessions, connections=self.warm_connections)

    async def keep_the_processors_clock(self, leads: Callable[[], bool]) -> None:
        """While this replica leads, have a recent reading of the processor's clock, also where nothing is charged.

        A follower has one from keeping warm. A leader with much to do has one from its calls.
        """
        while True:
            pause_s = _CLOCK_INTERVAL_S
            if leads() and self.clock_check.wants_processor():
                await self.payment_processor.warm(1)
                if self.clock_check.wants_processor():  # it gave none: it is away, or has no `Date`
                    pause_s = _CLOCK_RETRY_S
            await asyncio.sleep(pause_s)

    async def watch_the_leader(self) -> None:
        """Feel the leader's pulse, so that its death is noticed before its lease runs out."""
        while self.leader_watch is not None:
            try:
                await self.leader_watch.run()
            except Exception as error:  # noqa: BLE001 -- see _told
                log.error("pulse.watch_failed", error=_told(error))
                await asyncio.sleep(_WARM_RETRY_S)

    async def keep_beating(self, role: Callable[[], str]) -> None:
        """Write the replica's row again and again; a database that is away is somebody else's alarm."""
        while True:
            try:
                await self.heartbeat.beat(role())
            except Exception as error:  # noqa: BLE001 -- see _told
                log.warning("heartbeat.failed", error=_told(error))
            await asyncio.sleep(_BEAT_INTERVAL_S)

    async def keep_measuring_the_lag(
        self, leads: Callable[[], bool], tell: Callable[[Mapping[str, float]], None]
    ) -> None:
        """Tell again and again how late the oldest debt is that nobody has claimed, while this replica leads.

        Not for the pipeline to do: it is the pipeline that may be held up, by the processor or by what it carries.
        """
        await _keep_measuring(
            leads,
            self.due_lag.measure,
            tell,
            lambda error: log.warning("due_lag.not_measured", error=_told(error)),
        )

    async def keep_counting_the_parked(
        self, leads: Callable[[], bool], tell: Callable[[Parked], None]
    ) -> None:
        """Tell again and again how many attempts are parked, while this replica leads."""
        await _keep_measuring(
            leads,
            self.parked_count.measure,
            tell,
            lambda error: log.warning("parked.not_counted", error=_told(error)),
        )

    async def keep_counting_the_withheld(
        self, leads: Callable[[], bool], tell: Callable[[Withheld], None]
    ) -> None:
        """Report again and again how many subscriptions are due and withheld, while this replica leads."""
        await _keep_measuring(
            leads,
            self.withheld_count.measure,
            tell,
            lambda error: log.warning("withheld.not_counted", error=_told(error)),
        )

    async def say_goodbye(self) -> None:
        """Say on the replica's row that it has stopped.

        A successor that was quick has ended this replica's sessions, so the pool may hold dead ones: each try
        drops one of them.
        """
        told = ""
        for _ in range(self.warm_sessions + 1):
            try:
                await self.heartbeat.beat("stood_down")
            except Exception as error:  # noqa: BLE001 -- see _told
                told = _told(error)
            else:
                return
        log.warning("heartbeat.failed", error=told)

    async def close(self) -> None:
        """Close every connection."""
        await self.coordinator.close()
        await self.payment_processor.close()
        await self.pool.dispose()


async def _keep_measuring(
    leads: Callable[[], bool],
    measure: Callable[[], Awaitable[MeasureT]],
    tell: Callable[[MeasureT], None],
    failed: Callable[[Exception], None],
) -> None:
    while True:
        if leads():
            try:
                tell(await measure())
            except Exception as error:  # noqa: BLE001 -- see _told
                failed(error)
        await asyncio.sleep(_LAG_INTERVAL_S)


def _told(error: Exception) -> str:
    """An error in one line.

    The chores beside the replica's life catch all of them: a schema that is not there yet, or a right that is not
    granted yet, is no defect of ours and may be cured, and a chore that died of it would be missed by nobody.
    """
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def build_replica(
    settings: ReplicaSettings, *, observer: Observer, billing_observer: BillingObserver
) -> ReplicaProcess:
    """Assemble a replica; a setting that fits no other exits with status 2 and one line."""
    clock = SystemClock()
    uniform = random.SystemRandom().random
    incarnation = secrets.token_hex(4)
    holder = f"{settings.replica_name}#{incarnation}"  # also the name of this process's database sessions
    lease, life = _timing(settings)
    killers = ProcessFailpoints(settings.failpoints) if settings.failpoints else None
    failpoints: Failpoints = killers or NO_FAILPOINTS
    pool = database_pool(settings.database_url, application_name=holder, pool_size=settings.replica_pool_size)
    payments = processor(settings, concurrency=settings.concurrency, failpoints=killers)
    coordinator = EtcdCoordinator(
        _etcd_config(settings),
        lease,
        clock=clock,
        uniform=uniform,
        show_foreign=observer.foreign_members,
    )
    clock_check = ClockCheck(
        clock=clock,
        wall=clock,
        processor=payments.clock,
        tolerance_s=settings.clock_tolerance_s,
        observer=billing_observer,
    )
    pipeline = Pipeline(
        store=PostgresStore(pool, failpoints, fence_off="fence_off" in settings.unsafe),
        processor=payments,
        limiter=rate_limiter(settings, clock),
        policy=DunningPolicy(),
        names=_names(settings),
        limits=PipelineLimits(
            concurrency=settings.concurrency,
            in_flight=settings.in_flight_limit,
            claim_batch=settings.claim_batch,
            flush_batch=settings.claim_batch,
            flush_linger_s=settings.flush_linger_s,
            idle_poll_s=settings.idle_poll_s,
            max_overdue=settings.max_overdue_periods,
        ),
        clock=clock,
        uniform=uniform,
        failpoints=failpoints,
        observer=billing_observer,
        clock_check=clock_check,
        collector=IntentPerAttempt if "intent_per_attempt" in settings.unsafe else Collector,
    )
    candidate = CandidateName(holder, settings.ops_advertise)
    watch = PulseWatch(
        candidate,
        settings.scope,
        coordinator,
        HttpPulse(),
        clock,
        uniform,
        observer,
        missing_after_s=2.0 * settings.lease_ttl_s,
    )
    replica = Replica(
        name=holder,
        candidate=str(candidate),
        scope=settings.scope,
        coordinator=coordinator,
        office=PostgresOffice(pool, uuid4),
        lead=pipeline,
        clock=clock,
        uniform=uniform,
        timing=life,
        observer=observer,
    )
    return ReplicaProcess(
        holder=holder,
        life=replica,
        leader_watch=watch if settings.pulse == "on" else None,
        coordinator=coordinator,
        payment_processor=payments,
        clock_check=clock_check,
        pool=pool,
        rehearsal=Rehearsal(pool, uuid4),
        heartbeat=Heartbeat(pool, settings.replica_name, incarnation, f"http://{settings.ops_advertise}"),
        due_lag=DueLag(pool, settings.scope),
        parked_count=ParkedCount(pool, settings.scope),
        withheld_count=WithheldCount(pool, settings.scope),
        warm_sessions=settings.replica_pool_size,
        warm_connections=settings.concurrency,
    )


def rate_limiter(settings: ReplicaSettings, clock: Clock) -> RateLimiter:
    """A limiter with room for everything that the pipeline may have in flight: recovery adds a page to the limit."""
    most = settings.in_flight_limit + settings.claim_batch
    return RateLimiter(
        clock,
        settings.rate_limit_per_s,
        LimiterTuning(max_waiters=most),
        account_per_s=settings.account_rate_limit_per_s,
    )


_RULE_WORD = re.compile(r"\w+")
_SETTING_OF = {
    "lease_ttl_s": "MIDDLEMAN_LEASE_TTL_S",
    "margin_s": "MIDDLEMAN_TRUST_MARGIN_S",
    "drain_s": "MIDDLEMAN_DRAIN_S",
    "processor_call_timeout_s": "MIDDLEMAN_PROCESSOR_TIMEOUT_S",
}
"""What the timing rules speak of, where it can be set."""


def _timing(settings: ReplicaSettings) -> tuple[LeaseTiming, LifeTiming]:
    lease = LeaseTiming(lease_ttl_s=settings.lease_ttl_s, margin_s=settings.trust_margin_s)
    life = LifeTiming(drain_s=settings.drain_s)
    errors = lease_errors(lease) + life_errors(
        life, lease, processor_call_timeout_s=settings.processor_timeout_s
    )
    if errors:
        refuse(_RULE_WORD.sub(lambda word: _SETTING_OF.get(word[0], word[0]), "; ".join(errors)))
    return lease, life


def _etcd_config(settings: ReplicaSettings) -> EtcdConfig:
    try:
        return EtcdConfig(
            endpoints=settings.etcd_endpoints,
            user=settings.etcd_user or None,
            password=settings.etcd_password.get_secret_value() or None,
            tls=_etcd_tls(settings),
        )
    except ValueError as error:
        refuse(str(error))


def _etcd_tls(settings: ReplicaSettings) -> EtcdTls | None:
    files = (settings.etcd_ca_file, settings.etcd_cert_file, settings.etcd_key_file)
    if not any(files):
        return None
    return EtcdTls(*(Path(file) if file else None for file in files))


def _names(settings: ReplicaSettings) -> RequestNames:
    if "term_in_key" in settings.unsafe:
        return TermInKey()
    if "intent_per_attempt" in settings.unsafe:
        return IntentPerAttemptNames()
    return StableNames()
