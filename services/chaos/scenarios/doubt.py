"""What scenarios about the processor look at: which outcomes became unknown, and what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.faults.rules import Admin

_UNKNOWN = """
    SELECT count(*) AS all, count(*) FILTER (WHERE status = 'open') AS open,
           count(*) FILTER (WHERE status = 'succeeded') AS succeeded
    FROM payment_attempts WHERE unknown_at >= $1 AND ($2::text[] IS NULL OR unknown_reason = ANY($2))
"""
# Among our clients' cards there is one that declines, always with this code.
_ODDLY_DECLINED = """
    SELECT count(*) FROM payment_attempts
    WHERE settled_at >= $1 AND status = 'declined' AND code IS DISTINCT FROM 'card_declined'
"""
_BACKLOG = """
    SELECT (SELECT count(*) FROM subscriptions
            WHERE status = 'active' AND next_due_at <= business_now()
              AND (ends_at IS NULL OR next_due_at < ends_at))
         + (SELECT count(*) FROM payment_attempts WHERE status = 'open')
"""
BACKLOG = 60
"""Of what falls due in a second or two: what a system that keeps up may have before it."""
CATCH_UP_S = 60.0
"""After a storm of refusals the leader comes back to its rate within about half a minute, on purpose not at once."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Attempts whose outcome was unknown at some time, by what became of them so far."""

    all: int
    open: int
    succeeded: int

    def __str__(self) -> str:
        return f"{self.all} unknown, {self.all - self.open} of them settled, {self.succeeded} as succeeded"


async def doubt(stage: Stage, since: datetime, reasons: Sequence[str] | None = None) -> Doubt:
    """What became unknown since then, for one of these reasons or any. Raises `AwayError`."""
    [row] = await stage.eyes.fetch(_UNKNOWN, since, reasons)
    return Doubt(*row)


async def reads(stage: Stage) -> int | None:
    """How often payment intents were read from the processor since it started; None when it does not answer."""
    stats = await Admin.of(stage).ask("stats")
    if stats is None:
        return None
    counted: dict[str, int] = stats["requests"].get("payment_intents.retrieve", {})
    return sum(counted.values())


async def expect_unknown(
    stage: Stage, since: datetime, *faults: Fault, reasons: Sequence[str], least: int = 1
) -> Doubt:
    """Note that outcomes became unknown for one of these reasons."""

    async def look() -> Doubt | None:
        found = await doubt(stage, since, reasons)
        return found if found.all >= least else None

    return await stage.expect(
        f"at least {least} attempts become unknown ({' or '.join(reasons)})", look, *faults
    )


async def expect_found_out(stage: Stage, since: datetime, *faults: Fault, reads_before: int) -> Doubt:
    """Note that whatever became unknown was settled, after reading from the processor, and charged nobody twice."""

    async def look() -> Doubt | None:
        found = await doubt(stage, since)
        return found if found.all and not found.open else None

    found = await stage.expect("every unknown outcome is found out", look, *faults)
    read = (await reads(stage) or 0) - reads_before
    stage.observe("they are found out by reading payment intents", read >= found.all, f"{read} read", *faults)
    await observe_no_double(stage, *faults)
    return found


async def observe_no_double(stage: Stage, *faults: Fault) -> None:
    """Note that no invoice has two succeeded intents in the processor's ledger."""
    doubles = await stage.expect(
        "the processor's ledger shows what each invoice was charged",
        lambda: Admin.of(stage).ask("ledger/periods?by=invoice_id&min_succeeded=2&limit=10"),
        *faults,
        tell=lambda _: "read",
    )
    charged = [row["invoice_id"] for row in doubles["data"]]
    stage.observe("no invoice was charged twice", not charged, ", ".join(charged) or "none was", *faults)


async def observe_no_odd_decline(stage: Stage, since: datetime, *faults: Fault) -> None:
    """Note that nobody was declined but for the card."""
    declined = await stage.eyes.value(_ODDLY_DECLINED, since)
    stage.observe("nobody is declined for it", declined == 0, f"{declined} declined", *faults)


async def expect_caught_up(stage: Stage, *faults: Fault) -> int:
    """Note that the backlog which the fault left is worked off."""

    async def look() -> int | None:
        waiting: int = await stage.eyes.value(_BACKLOG)
        return waiting + 1 if waiting <= BACKLOG else None

    return await stage.expect(
        "what waited is worked off",
        look,
        *faults,
        tell=lambda seen: f"{seen - 1} due or open",
        patience_s=CATCH_UP_S,
    )
