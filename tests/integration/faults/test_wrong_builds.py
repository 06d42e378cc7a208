"""Builds that are wrong on purpose: each is caught by the judge, by the invariants that it breaks and by no other.

The same stories with the right build stay green: `test_killed_at_each_point` (killed after a create) and
`test_takeovers` (lost answers).
"""

import signal

from tests.support.fault_witnesses import broken
from tests.support.fault_world import FaultWorld

DUE, LOST = 12, 5


async def test_a_term_in_the_idempotency_key_creates_one_debt_twice(world: FaultWorld) -> None:
    world.spoiled = True
    await world.team()
    prefix = await world.subscribe(DUE)
    wrong = {"MIDDLEMAN_UNSAFE": "term_in_key"}
    doomed = await world.launch("replica-1", {**wrong, "MIDDLEMAN_FAILPOINTS": f"after_create=kill@{LOST}"})
    assert await doomed.wait_exit(timeout_s=20) == -signal.SIGKILL
    await world.revoke_leases()
    await world.team(replica_1=wrong)
    await world.until_paid(prefix, DUE)
    verdict = broken(await world.verdict())
    assert set(verdict) == {"I6"}, verdict
    assert "2 keys created the same intent" in verdict["I6"][0]


async def test_an_intent_per_attempt_that_takes_silence_for_a_no_charges_twice(world: FaultWorld) -> None:
    world.spoiled = True
    await world.team()
    await world.fault({"type": "drop_after"}, operation="payment_intents.confirm", times=LOST)
    prefix = await world.subscribe(DUE)
    await world.team(replica_1={"MIDDLEMAN_UNSAFE": "intent_per_attempt"})
    await world.until(prefix, lambda progress: progress.invoices == DUE and progress.open == 0)
    assert set(broken(await world.verdict())) >= {"I2"}, "money was taken for invoices that are not paid"

    await world.execute("SELECT set_test_clock('1 day 1 minute', 1)")  # dunning tries again
    await world.until_paid(prefix, DUE)
    verdict = broken(await world.verdict())
    assert set(verdict) == {"I1", "I2", "I5", "I6"}, verdict
    twice = [row for row in await world.ledger_periods() if row["succeeded"] == 2]
    assert len(twice) == LOST
