"""Some debts wait, and must hold up no other: banks that take their time, rows that the database cannot bill."""

from chaos.drive.stage import Stage
from chaos.faults.processes import killed
from chaos.faults.rules import CONFIRM, expect_bitten, lingering, misbehaving
from chaos.scenarios.doubt import expect_caught_up, expect_found_out, observe_no_odd_decline, reads

LINGERS_S = 12.0
PARKED = 20
BROKEN = 100
SET_ASIDE = 60
"""At least so many of them fall due while their time zone is unknown."""
NO_SUCH_ZONE = "Mars/Olympus_Mons"
CATCH_UP_S = 60.0

_PARKED = "SELECT count(*) FROM payment_attempts WHERE parked_until IS NOT NULL AND unknown_at >= $1"
_BREAK = """
    WITH chosen AS (
        SELECT id, time_zone FROM subscriptions
        WHERE status = 'active' AND withheld IS NULL AND ends_at IS NULL
          AND interval_unit = 'day' AND interval_count = 1
        ORDER BY next_due_at LIMIT $1
    ), broken AS (
        UPDATE subscriptions s SET time_zone = $2 FROM chosen c WHERE s.id = c.id
    )
    SELECT id, time_zone FROM chosen
"""
_REPAIR = "UPDATE subscriptions SET time_zone = $2 WHERE id = ANY($1) AND time_zone = $3 RETURNING id"
_SET_ASIDE = "SELECT id FROM subscriptions WHERE id = ANY($1) AND withheld = 'set_aside'"
_RELEASE = "SELECT release_withheld($1)"
_STILL_DUE = """
    SELECT count(*) FROM subscriptions
    WHERE id = ANY($1)
      AND (withheld IS NOT NULL OR (status = 'active' AND next_due_at <= business_now() - interval '2 days'))
"""


async def outcomes_linger(stage: Stage) -> None:
    """Half of the confirmations leave their intent in `processing` for a while, as cards of some countries do."""
    since = await stage.eyes.clock()
    reads_before = await reads(stage) or 0
    async with misbehaving(stage, lingering(LINGERS_S), operation=CONFIRM, probability=0.5) as rule:
        await expect_bitten(stage, rule, least=PARKED)

        async def parked() -> int | None:
            count: int = await stage.eyes.value(_PARKED, since)
            return count if count >= PARKED else None

        await stage.expect(
            "attempts without an outcome are parked", parked, rule.fault, tell=lambda n: f"{n} parked"
        )
        await stage.expect_charging(rule.fault)
        leader = await stage.leader()
        async with killed(stage, leader.name) as fault:
            await stage.expect_successor(leader, fault)
            await stage.expect_charging(rule.fault, fault)
    async with stage.fault("outcomes-still-linger", "sandbox", for_s=LINGERS_S) as rest:
        await expect_found_out(stage, since, rule.fault, fault, rest, reads_before=reads_before)
    await observe_no_odd_decline(stage, since, rule.fault, fault)


async def unknown_time_zones(stage: Stage) -> None:
    """The database does not know the time zone of a hundred subscriptions any more, as after an upgrade."""
    async with stage.fault("time-zones-unknown", "postgres", subscriptions=BROKEN) as fault:
        chosen = {row[0]: row[1] for row in await stage.eyes.fetch(_BREAK, BROKEN, NO_SUCH_ZONE)}
        ids = list(chosen)
        try:

            async def set_aside() -> list[str] | None:
                found = [row[0] for row in await stage.eyes.fetch(_SET_ASIDE, ids)]
                return found if len(found) >= SET_ASIDE else None

            # Not all of them: one that owes an earlier period, or is canceled meanwhile, falls due no more.
            marked = await stage.expect(
                "they are set aside as they fall due",
                set_aside,
                fault,
                tell=lambda found: f"{len(found)} of {len(ids)} set aside",
                patience_s=CATCH_UP_S,
            )
            await stage.expect_charging(fault)
            leader = await stage.leader()
            async with killed(stage, leader.name) as death:
                await stage.expect_successor(leader, death)
                await stage.expect_charging(fault, death)
            kept = len(await stage.eyes.fetch(_SET_ASIDE, marked))
            stage.observe(
                "the marks outlive the term",
                kept == len(marked),
                f"{kept} of {len(marked)} still set aside",
                fault,
                death,
            )
        finally:
            for zone in set(chosen.values()):
                of_zone = [each for each in ids if chosen[each] == zone]
                await stage.eyes.fetch(_REPAIR, of_zone, zone, NO_SUCH_ZONE)
            released: int = await stage.eyes.value(_RELEASE, ids)
        stage.observe("they are released", released >= len(marked), f"{released} released", fault)

        async def billed() -> int | None:
            waiting: int = await stage.eyes.value(_STILL_DUE, ids)
            return None if waiting else len(ids)

        await stage.expect(
            "and billed for all that fell due meanwhile",
            billed,
            fault,
            tell=lambda n: f"{n} billed",
            patience_s=CATCH_UP_S,
        )
    await expect_caught_up(stage, fault)
