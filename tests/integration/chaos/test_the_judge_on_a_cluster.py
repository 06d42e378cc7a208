"""A run with killed leaders on real servers: the judge agrees, and sees each falsification of either side."""

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import pytest_asyncio
from tests.support.chaos_runs import (
    books_open_to_falsification,
    broken,
    judge_now,
    running_cluster,
    sandbox_post,
)

from chaos.demo.scenario import Scenario
from chaos.demo.stage import Outcome, perform
from chaos.drive.eyes import Eyes, Leader
from chaos.drive.record import Fault, Record
from chaos.drive.stage import NotSeenError, Stage
from chaos.drive.target import Target
from chaos.judge.judging import CannotJudgeError, Sources, judge
from chaos.judge.verdict import Verdict
from chaos.scenarios.witness import observe_silence
from cluster.cluster import Cluster

Performed = tuple[Cluster, Outcome]
JUDGED_EVERY_S = 1.0
SCENARIO = Scenario(
    subscribers=120, duration_s=9, kill_leader_every_s=4, restart_after_s=0.5, seed=7, rest_timeout_s=60
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def performed(server_root: Path) -> AsyncIterator[Performed]:
    """The scenario is over, everything is at rest, the cluster still runs."""
    async with running_cluster(server_root) as cluster:
        judging = asyncio.create_task(_judge_all_along(cluster))
        try:
            outcome = await perform(cluster, SCENARIO)
        finally:
            judging.cancel()
            with suppress(asyncio.CancelledError):  # and nothing else: a judge that broke has judged nothing
                await judging
        yield cluster, outcome


_meanwhile: list[Verdict] = []


async def _judge_all_along(cluster: Cluster) -> None:
    _meanwhile.clear()
    while True:
        _meanwhile.append(await judge_now(cluster))
        await asyncio.sleep(JUDGED_EVERY_S)  # how often to look, not what to wait for


async def test_a_running_system_is_never_accused(performed: Performed) -> None:
    assert len(_meanwhile) >= 3
    assert all(verdict.holds for verdict in _meanwhile), [
        each.to_json() for each in _meanwhile if not each.holds
    ]
    assert any(not verdict.at_rest for verdict in _meanwhile)


async def test_every_due_period_is_charged_once_though_leaders_were_killed(performed: Performed) -> None:
    _, outcome = performed
    verdict, counts = outcome.verdict, outcome.verdict.counts
    assert verdict.holds, verdict.to_json()
    assert verdict.at_rest
    assert outcome.subscribed == SCENARIO.subscribers == counts["subscriptions"]
    billed = sum(counts["invoices"].values())
    assert counts["periods_due"] == billed + counts["periods_postponed"]
    assert billed > SCENARIO.subscribers
    assert counts["charges_succeeded"] == counts["invoices"]["paid"]
    assert counts["charges_failed"] > 0
    assert len(outcome.takeovers) >= 2
    assert counts["terms"] > len(outcome.takeovers)
    first = outcome.takeovers[0]
    assert first.successor_term is not None
    assert first.successor_term > first.term
    assert first.took_office_s is not None
    assert 0 < first.took_office_s < 10


async def test_the_judge_command_finds_the_cluster_and_says_the_same(performed: Performed) -> None:
    cluster, outcome = performed
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "middleman.entrypoints.cli", "judge", "--json", "--require-rest"),
        *("--data-dir", str(cluster.spec.data_dir)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), timeout=60)
    assert process.returncode == 0
    told = json.loads(output)
    assert told["holds"] is True
    assert told["counts"]["charges_succeeded"] == outcome.verdict.counts["charges_succeeded"]


@pytest.mark.parametrize(
    ("side", "value", "told"),
    [
        ("database_url", "postgresql://nobody:x@127.0.0.1:1/middleman", "cannot reach the database"),
        ("ledger_url", "http://127.0.0.1:1", "is the processor running"),
        ("admin_key", "wrong", "check the admin key"),
    ],
)
async def test_a_side_that_cannot_be_read_is_named(
    performed: Performed, side: str, value: str, told: str
) -> None:
    cluster, _ = performed
    sources = Sources(cluster.judge_database_url, cluster.sandbox.url, cluster.sandbox.admin_key)
    with pytest.raises(CannotJudgeError, match=told):
        await judge(replace(sources, **{side: value}))


async def test_a_lost_invoice_is_seen(performed: Performed) -> None:
    cluster, _ = performed
    async with books_open_to_falsification(cluster) as books:
        async with books.transaction():
            lost = await books.fetchrow("SELECT * FROM invoices WHERE status = 'paid' ORDER BY id LIMIT 1")
            await books.execute("DELETE FROM invoices WHERE id = $1", lost["id"])
        assert broken(await judge_now(cluster)) >= {"I2", "I3", "I5"}
        await books.execute(
            "INSERT INTO invoices SELECT (jsonb_populate_record(NULL::invoices, $1)).*", _as_json(lost)
        )
    assert (await judge_now(cluster, require_rest=True)).holds


async def test_another_amount_in_the_books_is_seen(performed: Performed) -> None:
    cluster, _ = performed
    change = """
        UPDATE invoices SET amount_minor = amount_minor + $1
        WHERE id = (SELECT min(id) FROM invoices WHERE status = 'paid')
    """
    async with books_open_to_falsification(cluster) as books:
        await books.execute(change, 1)
        assert broken(await judge_now(cluster)) == {"I2", "I9"}
        await books.execute(change, -1)


async def test_a_doctored_entry_is_seen(performed: Performed) -> None:
    cluster, _ = performed
    change = """
        UPDATE ledger_entries SET amount_minor = amount_minor + $1
        WHERE account = $2 AND attempt_id = (SELECT min(attempt_id) FROM ledger_entries)
    """
    async with books_open_to_falsification(cluster) as books:
        for accounts in (["processor_balance"], ["revenue", "processor_balance"]):
            for account in accounts:
                await books.execute(change, 1 if account == "processor_balance" else -1, account)
            assert broken(await judge_now(cluster)) == {"I9"}
            for account in accounts:
                await books.execute(change, -1 if account == "processor_balance" else 1, account)
    assert (await judge_now(cluster, require_rest=True)).holds


async def test_a_write_of_an_old_term_is_seen(performed: Performed) -> None:
    cluster, _ = performed
    async with books_open_to_falsification(cluster) as books:
        written = await books.fetchval(
            "INSERT INTO events (kind, term, subject) VALUES ('attempt.settled', 1, 'at_stale') RETURNING seq"
        )
        verdict = await judge_now(cluster)
        assert broken(verdict) == {"I4"}
        assert verdict.invariants[3].violations[0].subject == "at_stale"
        await books.execute("DELETE FROM events WHERE seq = $1", written)


async def test_a_commit_that_comes_late_is_seen_by_who_looks_after_a_frozen_leader(
    performed: Performed,
) -> None:
    """What it wrote was written in time; the commit came when its successor had long begun."""
    cluster, _ = performed
    stale, successor = Leader("replica-1", 1), Leader("replica-2", 2)
    fault = Fault(1, "scene", "freeze", stale.name, datetime.now(UTC))
    async with books_open_to_falsification(cluster) as books:
        eyes = cast("Eyes", SimpleNamespace(fetch=books.fetch))
        stage = Stage("scene", cast("Target", None), eyes, Record(), random.Random(1))
        await observe_silence(stage, stale, successor, fault)
        written = await books.fetchval(
            "INSERT INTO events (kind, term, subject, at) SELECT 'attempt.settled', 1, 'at_late', min(at) FROM events"
            " RETURNING seq"
        )
        with pytest.raises(NotSeenError, match=r"1 x attempt\.settled"):
            await observe_silence(stage, stale, successor, fault)
        await books.execute("DELETE FROM events WHERE seq = $1", written)


async def test_money_taken_behind_everybodys_back_is_seen(performed: Performed) -> None:
    """Last, since nothing takes it back."""
    cluster, _ = performed
    async with books_open_to_falsification(cluster) as books:
        paid = await books.fetchrow("SELECT * FROM invoices WHERE status = 'paid' ORDER BY id LIMIT 1")
    stray = await sandbox_post(
        cluster,
        "/v1/payment_intents",
        {
            "amount": "100",
            "currency": "eur",
            "payment_method_types[]": "card",
            "metadata[subscription_id]": paid["subscription_id"],
            "metadata[period_no]": str(paid["period_no"]),
        },
    )
    assert (await judge_now(cluster)).holds, "an unpaid stray intent harms nobody"
    await sandbox_post(
        cluster, f"/v1/payment_intents/{stray['id']}/confirm", {"payment_method": "pm_card_visa"}
    )
    assert broken(await judge_now(cluster)) == {"I1", "I2", "I5", "I9"}


def _as_json(row: object) -> str:
    return json.dumps(dict(row), default=str)  # type: ignore[call-overload]  # asyncpg's Record is untyped
