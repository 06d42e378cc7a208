"""`python -m middleman.entrypoints.replica`: one replica, from its environment.

Exit status 0 after a graceful stop (SIGTERM, SIGINT), 1 when it had to give itself up, 2 misconfigured.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from typing import NoReturn

import structlog
import uvloop
from aiohttp import web
from prometheus_client import CollectorRegistry

from middleman.bootstrap.replica import ReplicaProcess, build_replica
from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.entrypoints.replica.ops import HandOver, ops_app
from middleman.entrypoints.startup import configure_logging
from middleman.leadership.tenure import PipelineStuck
from middleman.settings import ReplicaSettings, load, refuse

log = structlog.get_logger(__name__)


async def run(settings: ReplicaSettings) -> None:
    """Serve the operations endpoint and live the replica's life until a signal asks to stop.

    Where a pipeline is stuck the process exits at once, with status 1.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    registry = CollectorRegistry()
    metrics = ReplicaMetrics(registry)
    metrics.may_carry(settings.in_flight_limit)
    replica = build_replica(settings, observer=metrics, billing_observer=metrics)
    app = ops_app(
        settings.replica_name,
        replica.holder,
        metrics,
        registry,
        lambda: replica.warm,
        replica.database_trouble,
        _hand_over(settings, replica),
    )
    # Pulses never end by themselves: a listener's going cancels one, and a stop waits for none of them.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await _listen(runner, settings)
        log.info(
            "replica.started", replica=settings.replica_name, ops_port=settings.ops_port, pid=os.getpid()
        )
        await replica.check()
        await _live(replica, metrics, stopping)
        log.info("replica.stopped", replica=settings.replica_name)
    finally:
        await runner.cleanup()
        await replica.close()


def _hand_over(settings: ReplicaSettings, replica: ReplicaProcess) -> HandOver | None:
    if settings.ops_token is None:
        return None
    return HandOver(settings.ops_token.get_secret_value(), replica.life.resign)


async def _listen(runner: web.AppRunner, settings: ReplicaSettings) -> None:
    try:
        await web.TCPSite(runner, settings.ops_host, settings.ops_port).start()
    except OSError as error:
        refuse(
            f"MIDDLEMAN_OPS_PORT={settings.ops_port}: cannot listen on {settings.ops_host}: "
            f"{error.strerror}; choose another port"
        )


async def _live(replica: ReplicaProcess, metrics: ReplicaMetrics, stopping: asyncio.Event) -> None:
    chores = [
        asyncio.create_task(replica.keep_warm(lambda: metrics.term is not None), name="warm"),
        asyncio.create_task(
            replica.keep_the_processors_clock(lambda: metrics.term is not None), name="processors-clock"
        ),
        asyncio.create_task(replica.watch_the_leader(), name="pulse"),
        asyncio.create_task(replica.keep_beating(lambda: metrics.role.value), name="heartbeat"),
        asyncio.create_task(
            replica.keep_measuring_the_lag(lambda: metrics.term is not None, metrics.lags_measured),
            name="lag",
        ),
        asyncio.create_task(
            replica.keep_counting_the_parked(
                lambda: metrics.term is not None,
                lambda parked: metrics.parked_measured(parked.count, parked.oldest_s),
            ),
            name="parked",
        ),
        asyncio.create_task(
            replica.keep_counting_the_withheld(
                lambda: metrics.term is not None,
                lambda found: metrics.withheld_measured(found.set_aside, found.held, found.invoices),
            ),
            name="withheld",
        ),
    ]
    try:
        await replica.life.run(stopping)
    except PipelineStuck as error:
        _exit_at_once(error)
    finally:
        for chore in chores:
            chore.cancel()
        await asyncio.gather(*chores, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await replica.say_goodbye()


def _exit_at_once(error: PipelineStuck) -> NoReturn:
    """End the process from within the loop: whoever leaves it waits for all its tasks, the stuck one among them."""
    log.critical("replica.stuck", reason=str(error))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _calm_the_collector() -> None:
    """Let the garbage collector look less often.

    Every charge makes dozens of short-lived tasks, futures and answers, and almost no cycles: the default
    threshold of 700 objects has the collector walk thousands of live attempts many times a second.
    """
    gc.freeze()  # modules stay for ever
    gc.set_threshold(50_000, 20, 20)


def main() -> None:
    """Entry point of the process."""
    settings = load(ReplicaSettings)
    configure_logging("replica", settings.log_format, settings.log_level, replica=settings.replica_name)
    _calm_the_collector()
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
