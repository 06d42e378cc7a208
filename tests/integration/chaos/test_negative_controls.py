"""Builds that are wrong on purpose: the judge must be able to say no."""

from pathlib import Path

import pytest
from tests.support.chaos_runs import (
    add_fault,
    bring_to_rest,
    broken,
    judge_now,
    leader_name,
    running_cluster,
    subscribe_all,
)

from chaos.demo.scenario import Scenario
from chaos.demo.stage import perform

DIES_AFTER_CREATING = "after_create=kill@20"


@pytest.mark.parametrize(("unsafe", "expected"), [("", set()), ("term_in_key", {"I6"})])
async def test_a_term_in_the_idempotency_key_turns_the_verdict_red(
    server_root: Path, unsafe: str, expected: set[str]
) -> None:
    """The leader dies between create and bind; only with the term in the key does the next create again."""
    extra_env = {
        "replica": {"MIDDLEMAN_UNSAFE": unsafe},
        "replica-1": {"MIDDLEMAN_UNSAFE": unsafe, "MIDDLEMAN_FAILPOINTS": DIES_AFTER_CREATING},
    }
    async with running_cluster(server_root, extra_env=extra_env) as cluster:
        if await leader_name(cluster) == "replica-2":
            await cluster.member("replica-2").restart()
        assert await leader_name(cluster) == "replica-1"
        await subscribe_all(cluster, 40)
        assert await cluster.member("replica-1").wait_exit(timeout_s=30) == -9
        await bring_to_rest(cluster)
        verdict = await judge_now(cluster, require_rest=True)
    assert verdict.at_rest
    assert verdict.counts["invoices"]["paid"] > 20
    assert broken(verdict) == expected


async def test_an_intent_per_attempt_turns_the_verdict_red(server_root: Path) -> None:
    """Confirms are executed, their answers lost: who takes silence for a decline charges again."""
    scenario = Scenario(
        subscribers=30, duration_s=8, kill_leader_every_s=0, clock_rate=60_000, rest_timeout_s=60
    )
    async with running_cluster(
        server_root, replicas=1, extra_env={"replica": {"MIDDLEMAN_UNSAFE": "intent_per_attempt"}}
    ) as cluster:
        await add_fault(
            cluster,
            {
                "match": {"operation": "payment_intents.confirm"},
                "times": 10,
                "action": {"type": "drop_after"},
            },
        )
        outcome = await perform(cluster, scenario)
    assert not outcome.verdict.holds
    assert broken(outcome.verdict) >= {"I1"}
