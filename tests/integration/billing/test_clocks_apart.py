"""A database whose clock jumps: the real server, with libfaketime between it and the machine's clock."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.database import fresh_database, make_template
from tests.support.fake_processor import FakeProcessor
from tests.support.fault_witnesses import until
from tests.support.pipeline_works import Leading, Works
from tests.support.shifted_postgres import INSTALL, ShiftedPostgres, library
from tests.support.store_rig import store_rig

from middleman.adapters.system_clock import SystemClock
from middleman.ports.clock import ClockReading

DAY_S = 86_400.0
YEAR_S = 365 * DAY_S
_FOUND = library()
pytestmark = pytest.mark.skipif(_FOUND is None, reason=f"no libfaketime on this machine: {INSTALL}")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(server_root: Path) -> AsyncIterator[ShiftedPostgres]:
    """A server of its own: what shares it would share its clock."""
    assert _FOUND is not None
    async with ShiftedPostgres(server_root / "shifted", _FOUND) as server:
        await make_template(server)
        yield server


@pytest_asyncio.fixture(loop_scope="session")
async def works(server: ShiftedPostgres) -> AsyncIterator[Works]:
    """A leader on a database of its own, whose clock is right to begin with. The processor's clock is right always."""
    server.shift(0.0)
    async with fresh_database(server) as database, store_rig(database) as rig:
        yield Works(rig, FakeProcessor(), processor_clock=a_right_clock)
    server.shift(0.0)


def a_right_clock() -> ClockReading:
    clock = SystemClock()
    now_s = clock.boottime_s()
    return ClockReading(clock.unix_s(), now_s, now_s, 1.0)


async def test_a_database_clock_that_jumps_a_year_ahead_charges_no_card_for_the_year(
    works: Works, server: ShiftedPostgres
) -> None:
    await works.subscribe(1, interval="week")
    async with works.leading() as leading:
        await works.until("paid", 1, leading)
        server.shift(YEAR_S)
        await until(wrong_clocks(leading, "database"))
        await until(compared_again(leading))
        assert await works.rig.owner.fetchval(_DUE) == 1, "by its clock a period is due"
        assert await works.rig.owner.fetchval("SELECT count(*) FROM invoices") == 1
        server.shift(0.0)
        await works.subscribe(1, prefix="later")
        await works.until("paid", 2, leading)
    assert leading.observer.wrong_clocks == ["database", None]
    await works.assert_each_paid_once(2)


async def test_a_leader_that_begins_on_a_wrong_database_clock_claims_nothing_from_the_first_on(
    works: Works, server: ShiftedPostgres
) -> None:
    await works.subscribe(20, interval="week")
    server.shift(YEAR_S)
    async with works.leading() as leading:
        await until(wrong_clocks(leading, "database"))
        await until(compared_again(leading))
        assert leading.observer.claims == []
        assert await works.rig.owner.fetchval("SELECT count(*) FROM invoices") == 0
        server.shift(0.0)
        await works.until("paid", 20, leading)
    await works.assert_each_paid_once(20)


async def test_what_is_open_when_the_clock_jumps_is_settled_all_the_same(
    works: Works, server: ShiftedPostgres
) -> None:
    await works.subscribe(5)
    assert len((await works.rig.claim()).attempts) == 5
    server.shift(YEAR_S)
    async with works.leading() as leading:
        await works.until("paid", 5, leading)
        await until(wrong_clocks(leading, "database"))
    await works.assert_each_paid_once(5)


_DUE = "SELECT count(*) FROM subscriptions WHERE next_due_at <= business_now()"


def wrong_clocks(leading: Leading, *wrong: str) -> Callable[[], Awaitable[bool | None]]:
    async def look() -> bool | None:
        return leading.observer.wrong_clocks == list(wrong) or None

    return look


def compared_again(leading: Leading) -> Callable[[], Awaitable[bool | None]]:
    """The clocks were compared some more times: what is shown of them is new each second."""
    shown = {leading.observer.clocks_ahead_s["database"]}

    async def look() -> bool | None:
        shown.add(leading.observer.clocks_ahead_s["database"])
        return len(shown) > 2 or None

    return look
