"""SIGKILL at every named point of a charge, restart, and exactly one succeeded charge each."""

import signal

import pytest
from tests.support.fault_world import SAFE, FaultWorld

DUE = 24
NTH = 9  # a term's first attempts go ahead of the others, so its ninth is in the middle of a batch


@pytest.mark.parametrize(
    ("point", "left_behind"),
    [
        ("after_claim=kill@2", "claimed"),
        (f"after_create=kill@{NTH}", "claimed"),
        (f"after_bind=kill@{NTH}", "bound"),
        (f"after_confirm_sent=kill@{NTH}", "bound"),
        (f"before_settle=kill@{NTH}", "bound"),
    ],
)
async def test_a_leader_killed_at_this_point_leaves_every_period_charged_once(
    world: FaultWorld, point: str, left_behind: str
) -> None:
    await world.team()
    prefix = await world.subscribe(DUE)
    if point.startswith("after_confirm_sent"):
        # The answer is still out when the process dies.
        await world.fault({"type": "latency", "latency_ms": 500}, operation="payment_intents.confirm")

    doomed = await world.launch("replica-1", {"MIDDLEMAN_FAILPOINTS": point})
    assert await doomed.wait_exit(timeout_s=20) == -signal.SIGKILL
    assert [(hit["name"], hit["signal"]) for hit in world.log("replica-1", "failpoint.hit")] == [
        (point.partition("=")[0], "SIGKILL")
    ]
    [first_term] = world.log("replica-1", "term.started")
    progress = await world.progress(prefix)
    assert progress.invoices == DUE
    assert progress.open > 0
    assert (progress.bound >= NTH) == (left_behind == "bound"), "the ninth had come just so far"

    await world.revoke_leases()  # waiting for one to expire is another test's business
    await world.team(replica_1=SAFE)
    await world.assert_charged_once(prefix, DUE)
    [recovery] = world.log("replica-1", "recovery.finished")
    assert recovery["attempts"] == progress.open
    assert recovery["token"] > first_term["token"]
    await world.assert_verdict_holds()
