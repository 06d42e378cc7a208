"""A leader that freezes inside a claim and wakes up after its successor has begun commits nothing.

What happens without the fence is shown by `middleman chaos prove-judge`.
"""

from tests.support.fault_world import Env, FaultWorld

BATCH, DUE = 6, 18
FREEZES: Env = {"MIDDLEMAN_FAILPOINTS": "in_transaction=stop@2", "MIDDLEMAN_CLAIM_BATCH": str(BATCH)}


async def test_with_the_fence_a_leader_that_wakes_up_in_a_claim_commits_nothing(world: FaultWorld) -> None:
    await world.team()
    prefix = await world.subscribe(DUE)
    await world.launch("replica-1", FREEZES)
    await world.until_frozen("replica-1")
    [started] = world.log("replica-1", "term.started")
    stale_term = started["token"]
    await world.team_beside("replica-1", replica_2={})
    await world.leader(after_term=stale_term)
    await world.until_paid(prefix, DUE)
    world.cluster.member("replica-1").resume()
    await world.until_logged("replica-1", "term.ended", token=stale_term)
    await world.assert_charged_once(prefix, DUE)
    rows = await world.fetch(
        "SELECT DISTINCT created_term FROM invoices WHERE created_term <= $1", stale_term
    )
    assert stale_term not in {row["created_term"] for row in rows}
    await world.assert_verdict_holds()
