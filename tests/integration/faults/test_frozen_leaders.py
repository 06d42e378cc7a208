"""A leader that freezes (SIGSTOP) for longer than its lease, and wakes up believing that nothing has happened."""

import asyncio
import time

import asyncpg
import pytest
from tests.support.fault_world import LEASE_TTL_S, SAFE, FaultWorld, Leader, elapsed_s

DUE = 240
LATENCY_MS = 150
FROZEN_S = LEASE_TTL_S + 3
BECOME = """
    SELECT set_config('middleman.scope', '0', true), set_config('middleman.term', number::text, true),
           set_config('middleman.term_uid', uid::text, true)
    FROM terms WHERE scope = 0 AND number = $1
"""


async def stay_frozen(since_s: float) -> None:
    """The scenario itself: the leader is away for its lease's time and three seconds more."""
    await asyncio.sleep(max(0.0, FROZEN_S - elapsed_s(since_s)))


async def assert_stood_down(world: FaultWorld, old: Leader) -> None:
    """The old leader noticed, wrote nothing after the takeover, and follows."""
    ended = await world.until_logged(old.name, "term.ended", token=old.term)
    assert any(word in ended["reason"] for word in ("lease", "trust", "refused", "key")), ended
    await world.cluster.member(old.name).wait_ready()
    late = await world.fetch(
        "SELECT e.kind, e.subject FROM events e JOIN events office ON office.kind = 'term.started'"
        " AND office.term = $1 + 1 WHERE e.term = $1 AND e.kind <> 'term.ended'"
        " AND pg_xact_commit_timestamp(e.xmin) > pg_xact_commit_timestamp(office.xmin)",
        old.term,
    )
    assert late == [], "a term commits nothing once the next one has begun, whenever it wrote it"


def assert_sessions_ended(world: FaultWorld, old: Leader) -> None:
    """PostgreSQL itself says that it ended the old leader's sessions, the one with the open transaction among them."""
    told = world.cluster.postgres.log_path.read_text(errors="replace").splitlines()
    started = world.log(old.name, "term.started")[-1]
    ended = [line for line in told if started["replica"] in line and "FATAL:  terminating connection" in line]
    assert ended, f"no session of {started['replica']} was ended by the database"


async def assert_refused_by_the_database(world: FaultWorld, old: Leader) -> None:
    """Whatever a replica believes of its lease: a write in the old term's name is refused where it is written."""
    connection = await world.cluster.postgres.connect()
    try:
        await connection.execute("SET ROLE middleman_replica; BEGIN")
        await connection.fetch(BECOME, old.term)
        with pytest.raises(asyncpg.PostgresError, match="stale term"):
            await connection.execute("UPDATE payment_attempts SET unknown_reason = 'late' WHERE false")
    finally:
        connection.terminate()  # which rolls back


async def test_a_leader_frozen_in_a_batch_is_replaced_and_charges_nothing_twice_when_it_wakes(
    world: FaultWorld,
) -> None:
    await world.team(replica_1=SAFE, replica_2=SAFE)
    old = await world.leader()
    await world.slow_processor(LATENCY_MS)
    prefix = await world.subscribe(DUE)
    await world.until_paid(prefix, 8)
    frozen, frozen_at_s = world.cluster.member(old.name), time.monotonic()
    frozen.pause()
    paid_by_the_old = (await world.progress(prefix)).paid
    assert paid_by_the_old < DUE

    new = await world.leader(after_term=old.term)
    await world.until_paid(prefix, paid_by_the_old + 1)
    assert frozen.is_paused, "the successor charges meanwhile"
    await stay_frozen(frozen_at_s)
    frozen.resume()

    await assert_stood_down(world, old)
    await assert_refused_by_the_database(world, old)
    await world.assert_charged_once(prefix, DUE)
    assert await world.leader() == new
    assert world.log(new.name, "sessions.terminated")
    await world.assert_verdict_holds()


async def test_a_leader_frozen_inside_a_transaction_holds_nobody_up_and_cannot_commit_it(
    world: FaultWorld,
) -> None:
    await world.team()
    await world.slow_processor(LATENCY_MS)
    prefix = await world.subscribe(DUE)
    frozen = await world.launch("replica-1", {"MIDDLEMAN_FAILPOINTS": "in_transaction=stop@7"})
    await world.until_frozen("replica-1")
    frozen_at_s = time.monotonic()
    with pytest.raises(asyncpg.LockNotAvailableError):
        await world.fetch("SELECT term FROM fence FOR UPDATE NOWAIT")
    [started] = world.log("replica-1", "term.started")
    old = Leader("replica-1", started["token"])
    paid_by_the_old = (await world.progress(prefix)).paid
    assert paid_by_the_old < DUE

    await world.team_beside("replica-1", replica_2=SAFE)
    new = await world.leader(after_term=old.term)
    await world.until_paid(prefix, paid_by_the_old + 1)
    await stay_frozen(frozen_at_s)
    frozen.resume()

    await assert_stood_down(world, old)
    assert_sessions_ended(world, old)
    await assert_refused_by_the_database(world, old)
    await world.assert_charged_once(prefix, DUE)
    assert await world.leader() == new
    await world.assert_verdict_holds()
