"""What a replica does beside its life, getting warm and being seen, outlives whatever the database answers."""

import asyncio
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from structlog.testing import capture_logs
from tests.support.database import add_subscriptions
from tests.support.fake_processor import FakeProcessor
from tests.support.pipeline_rig import a_clock_check
from tests.support.store_rig import StoreRig

from middleman.adapters.postgres.due_lag import DueLag
from middleman.adapters.postgres.heartbeat import Heartbeat
from middleman.adapters.postgres.parked import Parked, ParkedCount
from middleman.adapters.postgres.rehearsal import Rehearsal
from middleman.adapters.postgres.withheld import WithheldCount
from middleman.adapters.system_clock import SystemClock
from middleman.bootstrap.replica import ReplicaProcess
from middleman.ports.store import ParkedAttempt

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'leader#1' AND datname = current_database()"

Logs = list[MutableMapping[str, Any]]


@pytest.fixture
def process(rig: StoreRig) -> ReplicaProcess:
    """A replica's process without a life: the chores need none."""
    return ReplicaProcess(
        holder="replica-1#1",
        leader_watch=None,
        life=None,  # type: ignore[arg-type]  # not used by the chores
        coordinator=None,  # type: ignore[arg-type]  # likewise
        payment_processor=FakeProcessor(),
        clock_check=a_clock_check(SystemClock()),
        pool=rig.pool,
        rehearsal=Rehearsal(rig.pool, uuid4),
        heartbeat=Heartbeat(rig.pool, "replica-1", "1", "http://127.0.0.1:1"),
        due_lag=DueLag(rig.pool, 0),
        parked_count=ParkedCount(rig.pool, 0),
        withheld_count=WithheldCount(rig.pool, 0),
        warm_sessions=4,
        warm_connections=8,
    )


@asynccontextmanager
async def at_it(chore: "asyncio.Task[None]") -> AsyncIterator[None]:
    try:
        yield
    finally:
        chore.cancel()
        await asyncio.gather(chore, return_exceptions=True)


async def until_logged(logs: Logs, event: str) -> MutableMapping[str, Any]:
    async with asyncio.timeout(10):
        while not (found := [entry for entry in logs if entry["event"] == event]):  # noqa: ASYNC110  # a list of another's
            await asyncio.sleep(0.01)
    return found[0]


async def until_warm(process: ReplicaProcess) -> None:
    async with asyncio.timeout(10):
        while not process.warm:  # noqa: ASYNC110  # a flag of another's
            await asyncio.sleep(0.01)


async def test_a_replica_opens_its_sessions_and_its_connections(
    rig: StoreRig, process: ReplicaProcess
) -> None:
    async with at_it(asyncio.create_task(process.keep_warm(lambda: False))):
        await until_warm(process)
    assert process.payment_processor.warmed == 8  # type: ignore[attr-defined]  # the fake counts
    assert await rig.owner.fetchval(SESSIONS) == 4


async def test_a_replica_gets_warm_again_once_its_term_has_ended(
    rig: StoreRig, process: ReplicaProcess
) -> None:
    """The next leader has ended the sessions of this one."""
    leading, asked = asyncio.Event(), asyncio.Semaphore(0)

    def leads() -> bool:
        asked.release()
        return leading.is_set()

    async with at_it(asyncio.create_task(process.keep_warm(leads))):
        await until_warm(process)
        leading.set()
        await rig.superseded()
        assert await rig.owner.fetchval(SESSIONS) == 0
        while not asked.locked():
            await asked.acquire()
        for _ in range(3):
            await asked.acquire()
        assert await rig.owner.fetchval(SESSIONS) == 0, "whoever leads is kept warm by what it does"
        leading.clear()
        async with asyncio.timeout(10):
            while await rig.owner.fetchval(SESSIONS) < 4:  # noqa: ASYNC110  # the server's
                await asyncio.sleep(0.02)


async def test_a_leader_without_a_reading_of_the_processors_clock_asks_for_one(
    process: ReplicaProcess,
) -> None:
    processor = process.payment_processor
    async with at_it(asyncio.create_task(process.keep_the_processors_clock(lambda: True))):
        async with asyncio.timeout(10):
            while not processor.warmed:  # type: ignore[attr-defined]  # noqa: ASYNC110  # the fake counts, and sets no event
                await asyncio.sleep(0.01)
    assert processor.warmed == 1  # type: ignore[attr-defined]  # the fake counts


async def test_a_database_that_lets_nobody_in_yet_is_asked_again(
    rig: StoreRig, process: ReplicaProcess
) -> None:
    await rig.pool.dispose()
    await rig.owner.execute(f'REVOKE CONNECT ON DATABASE "{rig.database.name}" FROM PUBLIC')
    with capture_logs() as logs:
        async with at_it(asyncio.create_task(process.keep_warm(lambda: False))):
            told = await until_logged(logs, "replica.not_warm")
            assert "permission denied" in told["error"]
            await rig.owner.execute(f'GRANT CONNECT ON DATABASE "{rig.database.name}" TO PUBLIC')
            await until_warm(process)


async def test_a_replica_that_starts_before_the_schema_is_seen_once_that_is_there(
    rig: StoreRig, process: ReplicaProcess
) -> None:
    await rig.owner.execute("ALTER TABLE replicas RENAME TO not_yet")
    with capture_logs() as logs:
        async with at_it(asyncio.create_task(process.keep_beating(lambda: "follower"))):
            told = await until_logged(logs, "heartbeat.failed")
            assert "does not exist" in told["error"]
            await rig.owner.execute("ALTER TABLE not_yet RENAME TO replicas")
            async with asyncio.timeout(10):
                while not await rig.owner.fetchval("SELECT count(*) FROM replicas"):  # noqa: ASYNC110  # the server's
                    await asyncio.sleep(0.02)
    row = await rig.row("SELECT name, role FROM replicas")
    assert tuple(row) == ("replica-1", "follower")


async def test_a_leader_that_claims_nothing_still_says_how_late_it_is(
    rig: StoreRig, process: ReplicaProcess
) -> None:
    await add_subscriptions(rig.owner, 1)
    told: asyncio.Queue[Mapping[str, float]] = asyncio.Queue()
    async with at_it(asyncio.create_task(process.keep_measuring_the_lag(lambda: True, told.put_nowait))):
        lags_s = await asyncio.wait_for(told.get(), 10)
    assert 3600 <= lags_s["due"] < 3700
    assert lags_s["retry"] == 0


async def test_a_leader_says_how_many_attempts_are_parked_and_since_when(
    rig: StoreRig, process: ReplicaProcess
) -> None:
    await add_subscriptions(rig.owner, 3)
    first, second, _ = (await rig.claim()).attempts
    async with rig.store.fenced(rig.term) as transaction:
        await transaction.park_attempts(
            [ParkedAttempt(each.attempt_id, "processing", 1, 60.0) for each in (first, second)]
        )
    counted: asyncio.Queue[Parked] = asyncio.Queue()
    async with at_it(asyncio.create_task(process.keep_counting_the_parked(lambda: True, counted.put_nowait))):
        parked = await asyncio.wait_for(counted.get(), 10)
    assert parked.count == 2
    assert 0 < parked.oldest_s < 60


async def test_a_lag_that_cannot_be_measured_is_measured_again(
    rig: StoreRig, process: ReplicaProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("middleman.bootstrap.replica._LAG_INTERVAL_S", 0.02)
    await rig.owner.execute("ALTER TABLE invoices RENAME TO not_yet")
    told: asyncio.Queue[Mapping[str, float]] = asyncio.Queue()
    with capture_logs() as logs:
        async with at_it(asyncio.create_task(process.keep_measuring_the_lag(lambda: True, told.put_nowait))):
            await until_logged(logs, "due_lag.not_measured")
            assert told.empty()
            await rig.owner.execute("ALTER TABLE not_yet RENAME TO invoices")
            assert await asyncio.wait_for(told.get(), 10) == {"due": 0, "retry": 0}


async def test_who_does_not_lead_measures_no_lag(process: ReplicaProcess) -> None:
    asked = asyncio.Event()

    def leads() -> bool:
        asked.set()
        return False

    def tell(_: Mapping[str, float]) -> None:
        raise AssertionError("a follower has no lag to tell of")

    async with at_it(asyncio.create_task(process.keep_measuring_the_lag(leads, tell))):
        await asyncio.wait_for(asked.wait(), 10)


async def test_a_goodbye_that_cannot_be_said_ends_in_the_log(rig: StoreRig, process: ReplicaProcess) -> None:
    await process.say_goodbye()
    assert (await rig.row("SELECT role FROM replicas"))["role"] == "stood_down"
    await rig.owner.execute("DROP TABLE replicas")
    with capture_logs() as logs:
        await process.say_goodbye()
    assert [entry["event"] for entry in logs] == ["heartbeat.failed"]
