"""What the fence is for: the same story with it and without it, told to the judge.

A leader freezes in the transaction that claims its first periods. Its successor charges the others. Then the old one
wakes up and commits what it had begun: with the fence the database refuses, without it the judge has to see it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.fault_witnesses import broken
from tests.support.fault_world import Env, FaultWorld

BATCH, DUE = 6, 18
FREEZES: Env = {"MIDDLEMAN_FAILPOINTS": "in_transaction=stop@2", "MIDDLEMAN_CLAIM_BATCH": str(BATCH)}
UNFENCED: Env = {"MIDDLEMAN_UNSAFE": "fence_off"}


@asynccontextmanager
async def fence_off(world: FaultWorld) -> AsyncIterator[None]:
    """Everything that keeps a stale term out of the database is disabled by its owner, and put back."""
    [cut_off] = await world.fetch("SELECT pg_get_functiondef('terminate_sessions_of_holder'::regproc) AS sql")
    await world.execute("""
        ALTER TABLE invoices DISABLE TRIGGER invoices_fenced;
        ALTER TABLE payment_attempts DISABLE TRIGGER payment_attempts_fenced;
        CREATE OR REPLACE FUNCTION terminate_sessions_of_holder(of_scope smallint, successor text) RETURNS integer
            LANGUAGE sql AS 'SELECT 0';
        ALTER ROLE middleman_replica SET idle_in_transaction_session_timeout = 0;
    """)
    try:
        yield
    finally:
        await world.execute(cut_off["sql"])
        await world.execute("""
            ALTER TABLE invoices ENABLE TRIGGER invoices_fenced;
            ALTER TABLE payment_attempts ENABLE TRIGGER payment_attempts_fenced;
            ALTER ROLE middleman_replica SET idle_in_transaction_session_timeout = '2s';
        """)


async def freeze_in_a_claim(world: FaultWorld, build: Env) -> tuple[str, int]:
    """A leader asleep in its first claim, and a successor that has charged what the sleeper does not hold."""
    await world.team()
    prefix = await world.subscribe(DUE)
    await world.launch("replica-1", {**FREEZES, **build})
    await world.until_frozen("replica-1")
    [started] = world.log("replica-1", "term.started")
    await world.team_beside("replica-1", replica_2=build)
    await world.leader(after_term=started["token"])
    return prefix, started["token"]


async def test_with_the_fence_a_leader_that_wakes_up_in_a_claim_commits_nothing(world: FaultWorld) -> None:
    prefix, stale_term = await freeze_in_a_claim(world, {})
    await world.until_paid(prefix, DUE)
    world.cluster.member("replica-1").resume()
    await world.until_logged("replica-1", "term.ended", token=stale_term)
    await world.assert_charged_once(prefix, DUE)
    rows = await world.fetch(
        "SELECT DISTINCT created_term FROM invoices WHERE created_term <= $1", stale_term
    )
    assert stale_term not in {row["created_term"] for row in rows}
    await world.assert_verdict_holds()


async def test_without_the_fence_its_commit_turns_the_verdict_red(world: FaultWorld) -> None:
    world.spoiled = True
    async with fence_off(world):
        prefix, stale_term = await freeze_in_a_claim(world, UNFENCED)
        await world.until_paid(prefix, DUE - BATCH)
        assert broken(await world.verdict(at_rest=False)) == {}, "nothing has gone wrong so far"
        world.cluster.member("replica-1").resume()
        await world.until(prefix, lambda progress: progress.invoices == DUE)
        verdict = broken(await world.verdict(at_rest=False))
    assert set(verdict) == {"I4"}
    assert f"of term {stale_term} were committed after writes of term {stale_term + 1}" in verdict["I4"][0]
