"""A processor that cannot be reached: by the leader alone, or by everybody."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio
from tests.support.fault_witnesses import until
from tests.support.fault_world import FaultWorld, elapsed_s

from cluster.cluster import Cluster
from cluster.links import BLACK_HOLE
from cluster.spec import ClusterSpec

DUE = 60
DUE_PER_S = 20
GIVEN_UP = "given up: nothing came back from the processor"
CALL_TIMEOUT_S = 3


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(server_root: Path) -> AsyncIterator[FaultWorld]:
    """Two replicas that reach everything through links; etcd is not the subject, so one member will do."""
    spec = ClusterSpec(
        data_dir=server_root / "cut-off",
        replicas=2,
        apis=0,
        etcd_members=1,
        links=True,
        extra_env={"replica": {"MIDDLEMAN_PROCESSOR_TIMEOUT_S": str(CALL_TIMEOUT_S)}},
    )
    async with Cluster(spec) as cluster:
        yield FaultWorld(cluster, {})


def given_up(world: FaultWorld) -> int:
    """How many terms have ended because nothing came back from the processor.

    By the replicas' own word: the successor may be in office before that reason is on record (`Office.leave`).
    """
    ended = [entry for replica in world.cluster.replicas for entry in world.log(replica.name, "term.ended")]
    return sum(entry["reason"].startswith(GIVEN_UP) for entry in ended)


async def test_a_processor_that_is_away_for_everybody_costs_one_term_each_and_nothing_is_lost(
    world: FaultWorld,
) -> None:
    first = await world.leader()
    before = given_up(world)
    await world.slow_processor(1000)  # nothing is charged before it is gone
    prefix = await world.subscribe(DUE)
    await world.cluster.sandbox.kill()

    async def each_gave_up() -> bool | None:
        return given_up(world) == before + 2 or None

    await until(each_gave_up, patience_s=60)
    last = await world.leader(after_term=first.term + 1)
    assert (last.name, last.term) == (first.name, first.term + 2), "each tried once"
    await world.cluster.sandbox.start()
    await world.assert_charged_once(prefix, DUE)
    assert await world.leader() == last, "whoever leads when it is back goes on"
    assert given_up(world) == before + 2
    await world.assert_verdict_holds()


async def test_a_leader_that_alone_cannot_reach_the_processor_lets_another_charge(world: FaultWorld) -> None:
    old = await world.leader()
    await world.slow_processor(200)
    # Some are on their way when it is cut off, and more are to come.
    prefix = await world.subscribe_from_now_on(DUE, per_s=DUE_PER_S)
    await world.until_paid(prefix, 1)
    processor = world.cluster.links(old.name).processor
    assert processor is not None
    processor.set_mode(BLACK_HOLE)
    cut_s = time.monotonic()
    new = await world.leader(after_term=old.term)
    assert new.name != old.name
    assert elapsed_s(cut_s) < 9 + 2 * CALL_TIMEOUT_S + 2
    ended = await world.until_logged(old.name, "term.ended", token=old.term)
    assert ended["reason"].startswith(GIVEN_UP)
    await world.calm()
    await world.assert_charged_once(prefix, DUE)
    assert processor.mode is BLACK_HOLE, "charged while the other was still cut off"
    assert await world.leader() == new, "one failover, and no more"
    processor.heal()  # what was held arrives now, and moves no money a second time
    await world.assert_charged_once(prefix, DUE)
    await world.assert_verdict_holds()
