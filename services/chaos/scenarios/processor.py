"""Group 6: the processor loses replies, fails, refuses for a while, takes long, dies, forgets its keys, and tells."""

from contextlib import AsyncExitStack

from chaos.drive.stage import Stage
from chaos.faults.processor import down
from chaos.faults.rules import (
    CONFIRM,
    CREATE,
    FAILED_AND_DONE,
    FAILED_AND_NOT_DONE,
    LOST_AFTER,
    LOST_BEFORE,
    RESET_AFTER,
    RESET_BEFORE,
    TRUNCATED,
    Action,
    Admin,
    expect_bitten,
    misbehaving,
    slow,
)
from chaos.scenarios.clocks import clocks_apart
from chaos.scenarios.doubt import (
    expect_caught_up,
    expect_found_out,
    expect_unknown,
    observe_no_odd_decline,
    reads,
)
from chaos.scenarios.refusals import account_refused, proxy_refuses
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.storms import too_many_requests, too_many_requests_retry_after
from chaos.scenarios.waiting import outcomes_linger
from chaos.scenarios.webhooks import webhooks_disordered

LOST = ("connection_lost",)
BROKEN = ("connection_lost", "garbled")
FAILED = ("server_error",)
REMEMBERED = ("server_error_replayed",)
TIMED_OUT = ("timeout",)
UNKNOWNS = 30
STUCK = 5
ON_THE_WAY = 5
_IN_TIME = """
    SELECT count(*) FROM payment_attempts
    WHERE created_at >= $1 AND unknown_at IS NULL AND settled_at - created_at >= make_interval(secs => $2)
"""
_PAID_UNDER_A_SECOND_KEY = """
    SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
    WHERE t.settled_at >= $1 AND t.status = 'succeeded' AND (t.confirm_key_no > 1 OR i.create_key_no > 1)
"""
_SUCCEEDED = "SELECT count(*) FROM payment_attempts WHERE status = 'succeeded'"


async def _lose(stage: Stage, reasons: tuple[str, ...], *actions: Action) -> None:
    """Half of the confirmations, and some of the creations, end in each of these ways, until enough are unknown."""
    since = await stage.eyes.clock()
    reads_before = await reads(stage) or 0
    async with AsyncExitStack() as rules:
        struck = []
        for action in actions:
            rule = misbehaving(stage, action, operation=CONFIRM, probability=0.5)
            struck.append(await rules.enter_async_context(rule))
            rule = misbehaving(stage, action, operation=CREATE, probability=0.2)
            struck.append(await rules.enter_async_context(rule))
        for each in struck:
            await expect_bitten(stage, each)
        faults = [each.fault for each in struck]
        await expect_unknown(stage, since, *faults, reasons=reasons, least=UNKNOWNS)
    await expect_found_out(stage, since, *faults, reads_before=reads_before)
    await observe_no_odd_decline(stage, since, *faults)


async def replies_lost_before(stage: Stage) -> None:
    """The connection ends, and nothing was done."""
    await _lose(stage, LOST, LOST_BEFORE)


async def replies_lost_after(stage: Stage) -> None:
    """The connection ends, and everything was done."""
    await _lose(stage, LOST, LOST_AFTER)


async def replies_broken(stage: Stage) -> None:
    """Reset before, reset after, and cut in half."""
    await _lose(stage, BROKEN, RESET_BEFORE, RESET_AFTER, TRUNCATED)


async def failures_of_what_was_done(stage: Stage) -> None:
    """500 under the key for good, though it was done."""
    await _lose(stage, FAILED, FAILED_AND_DONE)


async def failures_remembered(stage: Stage) -> None:
    """500 under the key for good, and nothing was done: the next key of the same request is used."""
    since = await stage.eyes.clock()
    reads_before = await reads(stage) or 0
    async with (
        misbehaving(stage, FAILED_AND_NOT_DONE, operation=CONFIRM, probability=0.3) as confirms,
        misbehaving(stage, FAILED_AND_NOT_DONE, operation=CREATE, probability=0.1) as creates,
    ):
        await expect_bitten(stage, confirms)
        await expect_bitten(stage, creates)
        faults = (confirms.fault, creates.fault)
        await expect_unknown(stage, since, *faults, reasons=REMEMBERED, least=STUCK)
    await expect_found_out(stage, since, *faults, reads_before=reads_before)

    async def renewed() -> int | None:
        paid: int = await stage.eyes.value(_PAID_UNDER_A_SECOND_KEY, since)
        return paid if paid >= STUCK else None

    await stage.expect(
        "they are paid under a second key, long before the processor forgets the first",
        renewed,
        *faults,
        tell=lambda paid: f"{paid} paid",
    )


async def slow_replies(stage: Stage) -> None:
    """Five to fifteen seconds for each confirmation: some within the client's ten seconds, some not."""
    since = await stage.eyes.clock()
    reads_before = await reads(stage) or 0
    async with misbehaving(stage, slow(5.0, 15.0), operation=CONFIRM) as rule:
        await expect_bitten(stage, rule)

        async def late() -> int | None:
            return await stage.eyes.value(_IN_TIME, since, 5.0) or None

        await stage.expect(
            "those answered within the client's timeout are settled by the answer",
            late,
            rule.fault,
            tell=lambda n: f"{n} after more than 5 s",
        )
        await expect_unknown(stage, since, rule.fault, reasons=TIMED_OUT, least=1)
    await expect_found_out(stage, since, rule.fault, reads_before=reads_before)
    await expect_caught_up(stage, rule.fault)


async def processor_killed(stage: Stage) -> None:
    """Calls are on their way when it dies; its ledger is there when it is back."""
    since = await stage.eyes.clock()
    reads_before = 0  # it counts from its start
    async with misbehaving(stage, slow(0.4, 0.4), operation=CONFIRM) as rule:
        await expect_bitten(stage, rule, least=ON_THE_WAY)
        paid_before = await stage.eyes.value(_SUCCEEDED)
        async with down(stage) as fault:
            await expect_unknown(stage, since, fault, reasons=LOST, least=1)
    stats = await stage.expect(
        "it answers again", lambda: Admin.of(stage).ask("stats"), fault, tell=lambda _: "it does"
    )
    kept = stats["payment_intents_by_status"].get("succeeded", 0)
    stage.observe(
        "its ledger has every charge that was settled before",
        kept >= paid_before,
        f"{kept} succeeded there, {paid_before} settled here before",
        fault,
    )
    await expect_found_out(stage, since, fault, reads_before=reads_before)
    await stage.expect_charging(fault)


_GROUP = "processor"

PROCESSOR: tuple[Scenario, ...] = (
    Scenario(
        name="replies-lost-before-commit",
        group=_GROUP,
        shows="A reply that is lost before anything was done: the outcome is unknown, read, and done under the same key.",
        play=replies_lost_before,
    ),
    Scenario(
        name="replies-lost-after-commit",
        group=_GROUP,
        shows="A reply that is lost after the charge: the outcome is unknown, and read; nobody is charged again.",
        play=replies_lost_after,
    ),
    Scenario(
        name="replies-broken",
        group=_GROUP,
        shows="Connections reset before and after the charge, and answers cut in half, are unknown outcomes, and read.",
        play=replies_broken,
    ),
    Scenario(
        name="failures-stored",
        group=_GROUP,
        shows="A 500 that the processor repeats under its key, for something that it did, is found out by reading.",
        play=failures_of_what_was_done,
    ),
    Scenario(
        name="failures-stored-undone",
        group=_GROUP,
        shows="A 500 that is repeated for what was never done: the same request is paid under its next key.",
        play=failures_remembered,
    ),
    Scenario(
        name="outcomes-linger",
        group=_GROUP,
        shows="Banks that take their time: attempts are parked, hold up nobody, outlive a leader, and are found out.",
        play=outcomes_linger,
        limit_s=120.0,
    ),
    Scenario(
        name="rate-limited",
        group=_GROUP,
        shows="A storm of 429 slows the leader down, declines nobody, and what waited is worked off afterwards.",
        play=too_many_requests,
        limit_s=90.0,
    ),
    Scenario(
        name="rate-limited-retry-after",
        group=_GROUP,
        shows="A storm of 429 that says when to come back is left alone for so long, and then worked off.",
        play=too_many_requests_retry_after,
        limit_s=90.0,
    ),
    Scenario(
        name="account-refused",
        group=_GROUP,
        shows="An account that may not charge for a while declines nobody; the leader waits, and then charges all.",
        play=account_refused,
        limit_s=110.0,
    ),
    Scenario(
        name="proxy-refuses",
        group=_GROUP,
        shows="A proxy that refuses every call declines nobody; the leader waits, and then charges all.",
        play=proxy_refuses,
        limit_s=110.0,
    ),
    Scenario(
        name="clocks-apart",
        group=_GROUP,
        shows="A processor whose clock is an hour ahead: nothing new is claimed, and what is open is settled.",
        play=clocks_apart,
        limit_s=110.0,
    ),
    Scenario(
        name="processor-slow",
        group=_GROUP,
        shows="Calls of five to fifteen seconds: answers in time settle, later ones are found out by reading.",
        play=slow_replies,
        limit_s=90.0,
    ),
    Scenario(
        name="processor-killed",
        group=_GROUP,
        shows="The processor dies with calls under way and comes back with its ledger: each of them is found out.",
        play=processor_killed,
    ),
    Scenario(
        name="webhooks-disordered",
        group=_GROUP,
        shows="Webhooks that come twice, late, in any order or forged lead to what the processor shows, and no further.",
        play=webhooks_disordered,
        limit_s=90.0,
    ),
)
