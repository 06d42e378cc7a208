"""Replicas that are wrong on purpose (`MIDDLEMAN_UNSAFE`), each in the situation that it cannot bear."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chaos.judge.verdict import Verdict, broken
from chaos.prove.control import Control
from chaos.prove.sight import NotProvokedError
from chaos.prove.world import SAFE, Env, World

BATCH, DUE, LOST = 6, 18, 5
FREEZES: Env = {"MIDDLEMAN_FAILPOINTS": "in_transaction=stop@2", "MIDDLEMAN_CLAIM_BATCH": str(BATCH)}
DIES: Env = {"MIDDLEMAN_FAILPOINTS": f"after_create=kill@{LOST}"}

_LIFT_THE_FENCE = """
    ALTER TABLE invoices DISABLE TRIGGER invoices_fenced;
    ALTER TABLE payment_attempts DISABLE TRIGGER payment_attempts_fenced;
    ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_fenced;
    CREATE OR REPLACE FUNCTION terminate_sessions_of_holder(of_scope smallint, successor text) RETURNS integer
        LANGUAGE sql AS 'SELECT 0';
    ALTER ROLE middleman_replica SET idle_in_transaction_session_timeout = 0;
"""
_PUT_THE_FENCE_BACK = """
    ALTER TABLE invoices ENABLE TRIGGER invoices_fenced;
    ALTER TABLE payment_attempts ENABLE TRIGGER payment_attempts_fenced;
    ALTER TABLE ledger_entries ENABLE TRIGGER ledger_entries_fenced;
    ALTER ROLE middleman_replica SET idle_in_transaction_session_timeout = '2s';
"""


def unsafe(switch: str) -> Env:
    """The environment of a build that obeys this switch."""
    return {"MIDDLEMAN_UNSAFE": switch}


@asynccontextmanager
async def fence_lifted(world: World) -> AsyncIterator[None]:
    """Everything that keeps a stale term out of the database is disabled by its owner, and put back."""
    [cut_off] = await world.fetch("SELECT pg_get_functiondef('terminate_sessions_of_holder'::regproc) AS sql")
    await world.execute(_LIFT_THE_FENCE)
    try:
        yield
    finally:
        await world.execute(cut_off["sql"])
        await world.execute(_PUT_THE_FENCE_BACK)


async def asleep_in_a_claim(world: World, build: Env) -> int:
    """A leader asleep in its first claim, and a successor in office; the term of the sleeper."""
    await world.nobody_runs()
    await world.subscribe(DUE)
    await world.launch("replica-1", {**FREEZES, **build})
    await world.until_frozen("replica-1")
    stale = int((await world.until_logged("replica-1", "term.started"))["token"])
    await world.play("replica-2", build)

    async def succeeded() -> bool | None:
        return bool(await world.fetch("SELECT FROM fence WHERE term > $1", stale)) or None

    await world.until(f"a term after {stale}", succeeded)
    return stale


async def _wakes_up_with_the_fence(world: World) -> Verdict:
    stale = await asleep_in_a_claim(world, SAFE)
    await world.until_paid(DUE)
    world.cluster.member("replica-1").resume()
    await world.until_logged("replica-1", "term.ended", token=stale)
    return await world.verdict()


async def _wakes_up_without_the_fence(world: World) -> Verdict:
    async with fence_lifted(world):
        await asleep_in_a_claim(world, unsafe("fence_off"))
        await world.until_paid(DUE - BATCH)
        if not (before := await world.verdict(at_rest=False)).holds:
            raise NotProvokedError(
                f"the verdict is red before anything went wrong: {', '.join(broken(before))}"
            )
        world.cluster.member("replica-1").resume()
        await world.until_charged(
            "the claim of the stale term is committed", lambda progress: progress.invoices == DUE
        )
        return await world.verdict(at_rest=False)


async def _killed_after_creating(world: World, build: Env) -> Verdict:
    """The leader dies with intents created and not bound; the next one creates them again, under its own keys or not."""
    await world.nobody_runs()
    await world.subscribe(DUE)
    doomed = await world.launch("replica-1", {**DIES, **build})
    try:
        code = await doomed.wait_exit(timeout_s=20)
    except TimeoutError:
        raise NotProvokedError("the leader did not come to the point at which it dies") from None
    if code != -signal.SIGKILL:
        raise NotProvokedError(f"the leader ended with {code} instead of dying at its failpoint")
    await world.revoke_leases()
    await world.play("replica-1", build)
    await world.until_paid(DUE)
    return await world.verdict()


async def _left_without_answers(world: World, build: Env) -> Verdict:
    """The processor charges and does not say so; who takes that for a no is shown a day later, by dunning."""
    await world.nobody_runs()
    await world.lose_answers("payment_intents.confirm", LOST)
    await world.subscribe(DUE)
    await world.play("replica-1", build)
    await world.until_charged(
        "every attempt settled", lambda progress: progress.invoices == DUE and not progress.trying
    )
    await world.execute("SELECT set_test_clock('1 day 1 minute', 1)")
    await world.until_paid(DUE)
    return await world.verdict()


BUILDS: tuple[Control, ...] = (
    Control(
        name="fence_off",
        what="a leader frozen in a claim wakes up after its successor has begun; nobody refuses its commit",
        breaks=frozenset({"I4"}),
        right=_wakes_up_with_the_fence,
        wrong=_wakes_up_without_the_fence,
    ),
    Control(
        name="term_in_key",
        what="a leader dies after creating intents; the next one creates them again under other keys",
        breaks=frozenset({"I6"}),
        right=lambda world: _killed_after_creating(world, SAFE),
        wrong=lambda world: _killed_after_creating(world, unsafe("term_in_key")),
    ),
    Control(
        name="intent_per_attempt",
        what="the processor loses its answers; silence counts as a decline, and dunning makes another intent",
        breaks=frozenset({"I1", "I2", "I5"}),
        right=lambda world: _left_without_answers(world, SAFE),
        wrong=lambda world: _left_without_answers(world, unsafe("intent_per_attempt")),
    ),
)
