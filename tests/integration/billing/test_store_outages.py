"""The store through stale terms, ended sessions, a killed server, and commits whose answer never came."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from sqlalchemy.engine import make_url
from tests.support.database import add_subscriptions
from tests.support.fake_coordinator import LinkMode
from tests.support.links import Relay
from tests.support.store_rig import DECLINED, StoreRig, intent_of, paid, settled

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import engine
from middleman.adapters.postgres.heartbeat import Heartbeat, warm_pool
from middleman.adapters.postgres.office import PostgresOffice
from middleman.adapters.postgres.store import PostgresFencedTransaction, PostgresStore
from middleman.domain.attempts import RequiresAction
from middleman.domain.ids import NoticeId
from middleman.ports.errors import OfficeUnavailable, StaleTerm
from middleman.ports.failpoints import NO_FAILPOINTS
from middleman.ports.store import (
    Binding,
    Finding,
    Look,
    OpenAttempt,
    StoreRefused,
    StoreUnavailable,
    UnknownAttempt,
)

Write = Callable[[PostgresFencedTransaction, OpenAttempt], Awaitable[object]]

WRITES: dict[str, Write] = {
    "claim_due": lambda tx, _: tx.claim_due(10, 1000),
    "claim_retries": lambda tx, _: tx.claim_retries(10),
    "bind": lambda tx, attempt: tx.bind([Binding(attempt.invoice_id, intent_of(attempt))]),
    "mark_unknown": lambda tx, attempt: tx.mark_unknown([UnknownAttempt(attempt.attempt_id, "timeout")]),
    "settle": lambda tx, attempt: tx.settle([settled(attempt, DECLINED)]),
    "heed": lambda tx, _: tx.heed([Look(NoticeId("evt_1"), Finding.SUCCEEDED)]),
}
ALL: dict[str, Write] = WRITES | {
    "end_subscriptions": lambda tx, _: tx.end_subscriptions(10),
    "open_attempts": lambda tx, _: tx.open_attempts(None, 10),
    "pending_notices": lambda tx, _: tx.pending_notices(10),
}


async def one_claimed(rig: StoreRig) -> OpenAttempt:
    await add_subscriptions(rig.owner, 1)
    [attempt] = (await rig.claim()).attempts
    return attempt


async def transact(store: PostgresStore, rig: StoreRig, write: Write, attempt: OpenAttempt) -> object:
    async with store.fenced(rig.term) as transaction:
        return await write(transaction, attempt)


async def books(rig: StoreRig) -> list[tuple[object, ...]]:
    """Everything that the pipeline may write, in one snapshot: a commit in between must not show by halves."""
    tables = ("invoices", "payment_attempts", "subscriptions", "events", "processor_notices")
    async with rig.owner.transaction(isolation="repeatable_read", readonly=True):
        rows = [await rig.owner.fetch(f"SELECT t::text AS row FROM {table} t ORDER BY 1") for table in tables]
    return [tuple(row["row"] for row in table) for table in rows]


@pytest.mark.parametrize("write", ALL.values(), ids=ALL)
async def test_a_stale_term_gets_nothing_done(rig: StoreRig, write: Write) -> None:
    attempt = await one_claimed(rig)
    await add_subscriptions(rig.owner, 1, prefix="more")
    await rig.superseded()
    before = await books(rig)
    with pytest.raises(StaleTerm, match=f"refused term {rig.term.number}"):
        await transact(rig.store, rig, write, attempt)
    assert await books(rig) == before


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_write_that_forgets_its_term_is_refused_by_the_database(rig: StoreRig, write: Write) -> None:
    attempt = await one_claimed(rig)
    await add_subscriptions(rig.owner, 1, prefix="more")
    forgetful = PostgresStore(rig.pool, NO_FAILPOINTS, fence_off=True)
    before = await books(rig)
    with pytest.raises(StaleTerm):
        await transact(forgetful, rig, write, attempt)
    assert await books(rig) == before


async def test_a_session_that_is_ended_in_the_middle_is_unavailable_and_the_next_one_works(
    rig: StoreRig,
) -> None:
    attempt = await one_claimed(rig)

    async def is_cut_off(transaction: PostgresFencedTransaction, attempt: OpenAttempt) -> None:
        ended = await rig.owner.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'leader#1'"
        )
        assert ended >= 1
        await transaction.settle([settled(attempt, paid(attempt))])

    with pytest.raises(StoreUnavailable):
        await transact(rig.store, rig, is_cut_off, attempt)
    await eventually_available(rig)
    assert (await rig.attempt(attempt))["status"] == "open"
    await rig.pay(attempt)


async def eventually_available(rig: StoreRig) -> int:
    """Try until a transaction works, as the pipeline does; returns how many tries were in vain."""
    async with asyncio.timeout(10):
        in_vain = 0
        while True:
            try:
                await rig.open_attempts()
            except StoreUnavailable:
                in_vain += 1
                await asyncio.sleep(0.02)
            else:
                return in_vain


async def test_a_busy_pool_is_unavailable_instead_of_waiting_for_ever(rig: StoreRig) -> None:
    attempt = await one_claimed(rig)
    narrow = rig.database.replica_engine("narrow#1", pool_size=1)
    narrow.pool._timeout = 0.2  # type: ignore[attr-defined]  # three seconds in production
    try:
        store = PostgresStore(narrow, NO_FAILPOINTS)
        async with store.fenced(rig.term):
            with pytest.raises(StoreUnavailable, match="QueuePool limit"):
                await transact(store, rig, ALL["settle"], attempt)
    finally:
        await narrow.dispose()


async def test_a_lock_that_is_held_too_long_is_unavailable(rig: StoreRig) -> None:
    attempt = await one_claimed(rig)
    async with rig.owner.transaction():
        await rig.owner.execute("SELECT 1 FROM payment_attempts FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            await transact(rig.store, rig, ALL["settle"], attempt)  # the role's lock_timeout is two seconds
    assert await rig.settle((attempt, DECLINED)) == 1


async def test_a_statement_that_cannot_be_right_is_refused_and_no_outage(rig: StoreRig) -> None:
    attempt = await one_claimed(rig)
    longer_than_time = timedelta(days=999_999_999)
    broken = settled(attempt, DECLINED)
    broken = replace(broken, settlement=replace(broken.settlement, next_attempt_after=longer_than_time))
    with pytest.raises(StoreRefused, match="out of range"):
        await transact(rig.store, rig, lambda tx, _: tx.settle([broken]), attempt)


async def test_a_killed_server_is_unavailable_everywhere_and_then_all_goes_on(
    rig: StoreRig, postgres_server: PostgresServer
) -> None:
    attempt = await one_claimed(rig)
    heartbeat = Heartbeat(rig.pool, "leader", "1", "http://127.0.0.1:1")

    async def bind_and_lose_the_server(transaction: PostgresFencedTransaction, attempt: OpenAttempt) -> None:
        await WRITES["bind"](transaction, attempt)
        await postgres_server.kill()

    try:
        with pytest.raises(StoreUnavailable):
            await transact(rig.store, rig, bind_and_lose_the_server, attempt)
        with pytest.raises(StoreUnavailable):
            await rig.open_attempts()
        with pytest.raises(StoreUnavailable):
            await heartbeat.beat("leader")
        with pytest.raises(StoreUnavailable):
            await warm_pool(rig.pool, 2)
        office = PostgresOffice(rig.pool, lambda: rig.term.uid)
        with pytest.raises(OfficeUnavailable):
            await office.take_office(0, "leader#1", 3)
        with pytest.raises(OfficeUnavailable):
            await office.leave(rig.term, "stopped")
    finally:
        await postgres_server.start()
    await eventually_available(rig)
    [found] = await rig.open_attempts()
    assert found.payment_intent_id is None, "what was not committed did not happen"
    assert (await rig.bind(found))[0] == intent_of(found)
    await heartbeat.beat("leader")


@dataclass(slots=True)
class Deafness:
    """A failpoint inside a transaction: from here on the server hears us and we do not hear the server."""

    relay: Relay
    armed: bool = False

    async def hit(self, name: str) -> None:
        if name == "in_transaction" and self.armed:
            self.relay.set_mode(LinkMode.DEAF)


@asynccontextmanager
async def over_a_relay(rig: StoreRig) -> AsyncIterator[tuple[PostgresStore, Deafness, Relay]]:
    url = make_url(rig.database.dsn("middleman_replica"))
    relay = Relay(f"{url.host}:{url.port}")
    host, _, port = (await relay.start()).rpartition(":")
    pool = engine(
        url.set(host=host, port=int(port)).render_as_string(hide_password=False),
        application_name="leader#1",
        pool_size=1,
    )
    deafness = Deafness(relay)
    try:
        yield PostgresStore(pool, deafness), deafness, relay
    finally:
        await relay.close()
        await pool.dispose()


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
async def test_a_commit_whose_answer_is_lost_is_unavailable_and_its_repeat_harmless(
    rig: StoreRig, write: Write
) -> None:
    attempt = await one_claimed(rig)
    if write is not WRITES["bind"]:
        await rig.bind(attempt)
    await add_subscriptions(rig.owner, 1, prefix="more")
    if write is WRITES["claim_retries"]:
        await rig.settle((attempt, DECLINED))
        await rig.owner.execute("SELECT set_test_clock('2 days', 1)")
    if write is WRITES["heed"]:
        await rig.settle((attempt, RequiresAction()))
        await rig.owner.execute(
            "INSERT INTO processor_notices (event_id, scope, invoice_id, payment_intent_id, kind, occurred_at)"
            " SELECT 'evt_1', scope, id, payment_intent_id, 'intent.succeeded', now() FROM invoices WHERE id = $1",
            attempt.invoice_id,
        )
    before = await books(rig)
    async with over_a_relay(rig) as (store, deafness, relay):
        await transact(store, rig, ALL["open_attempts"], attempt)  # connected, while all is well
        deafness.armed = True
        lost = asyncio.create_task(transact(store, rig, write, attempt))
        async with asyncio.timeout(5):
            while (committed := await books(rig)) == before:  # noqa: ASYNC110  # the server sets no events of ours
                await asyncio.sleep(0.01)
        assert not lost.done()
        await relay.close()
        with pytest.raises(StoreUnavailable):
            await lost
    await transact(rig.store, rig, write, attempt)
    again = await books(rig)
    if write is WRITES["mark_unknown"]:  # notes the moment anew, and nothing else
        committed, again = committed[:1] + committed[2:3], again[:1] + again[2:3]
    assert again == committed


async def claim_on(store: PostgresStore, rig: StoreRig) -> None:
    async with store.fenced(rig.term) as transaction:
        await transaction.claim_due(10, 1000)


async def test_a_claim_that_committed_unheard_is_found_by_recovery(rig: StoreRig) -> None:
    await add_subscriptions(rig.owner, 3)
    async with over_a_relay(rig) as (store, deafness, relay):
        deafness.armed = True
        lost = asyncio.create_task(claim_on(store, rig))
        async with asyncio.timeout(5):
            while not await rig.owner.fetchval("SELECT count(*) FROM invoices"):  # noqa: ASYNC110  # as above
                await asyncio.sleep(0.01)
        await relay.close()
        with pytest.raises(StoreUnavailable):
            await lost
    assert (await rig.claim()).attempts == ()
    assert len(await rig.open_attempts()) == 3
