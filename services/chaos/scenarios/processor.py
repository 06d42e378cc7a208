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
    SANDBOX,
    TRUNCATED,
    Action,
    Admin,
    expect_bitten,
    misbehaving,
    slow,
)
from chaos.scenarios.doubt import (
    doubt,
    expect_caught_up,
    expect_found_out,
    expect_unknown,
    observe_no_odd_decline,
    reads,
)
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.storms import too_many_requests, too_many_requests_retry_after
from chaos.scenarios.webhooks import webhooks_disordered

LOST = ("connection_lost",)
BROKEN = ("connection_lost", "garbled")
FAILED = ("server_error",)
REMEMBERED = ("server_error_replayed",)
TIMED_OUT = ("timeout",)
UNKNOWNS = 30
STUCK = 5
ON_THE_WAY = 5
KEY_LIFE_S = 24 * 3600
_IN_TIME = """
    SELECT count(*) FROM payment_attempts
    WHERE created_at >= $1 AND unknown_at IS NULL AND settled_at - created_at >= make_interval(secs => $2)
"""
# Who was not answered within a minute asks no more: repeats come all the time, and a key is held for half a minute.
_HALF_MADE = """
    SELECT count(*) FROM api_idempotency_keys
    WHERE response_status IS NULL AND created_at < now() - interval '1 second' AND created_at > now() - interval '1 minute'
"""
HALF_MADE_FOR_S = 75.0
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
    """500 under the key for good, and nothing was done: no key of ours helps until the processor has forgotten it."""
    # What the API has half made is finished under the same keys: in a day's time they would make it anew.
    await _expect_nothing_half_made(stage)
    since = await stage.eyes.clock()
    reads_before = await reads(stage) or 0
    try:
        async with misbehaving(stage, FAILED_AND_NOT_DONE, operation=CONFIRM, probability=0.3) as rule:
            await expect_bitten(stage, rule)
            await expect_unknown(stage, since, rule.fault, reasons=REMEMBERED, least=STUCK)
        stuck = await doubt(stage, since, REMEMBERED)
        stage.observe(
            "nobody guesses: these stay open under their one key",
            stuck.open == stuck.all,
            str(stuck),
            rule.fault,
        )
    finally:
        # Whatever was seen, they must not stay stuck. It is not undone: the processor's time does not go back.
        async with stage.fault("processor-forgets-keys", SANDBOX, after_s=KEY_LIFE_S) as forgetting:
            admin = Admin.of(stage)
            clock = await admin.change("GET", "clock")
            await admin.change("POST", "clock", {"offset_s": clock["offset_s"] + KEY_LIFE_S})
    await expect_found_out(stage, since, rule.fault, forgetting, reads_before=reads_before)


async def _expect_nothing_half_made(stage: Stage) -> None:
    async def look() -> str | None:
        waiting: int = await stage.eyes.value(_HALF_MADE)
        return None if waiting else "all are answered"

    await stage.expect("no request is half done", look, patience_s=HALF_MADE_FOR_S)


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
        shows="A 500 that is repeated for what was never done is waited out; forgotten keys then charge once.",
        play=failures_remembered,
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
