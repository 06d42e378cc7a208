"""A leader that freezes inside a transaction which holds the fence row."""

import asyncpg

from chaos.drive.eyes import Leader
from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.faults.processes import armed, restored
from chaos.scenarios.handover import make_way
from chaos.scenarios.witness import STALE, expect_stood_down, observe_silence, others
from cluster.together import start_all

POINT = "in_transaction"
PATIENCE_S = 90.0
_HOLD = "SELECT 1 FROM fence WHERE scope = 0 FOR UPDATE NOWAIT"


async def freeze_in_transaction(stage: Stage) -> None:
    """A follower is doomed to it, and everybody else makes way for it."""
    leader = await stage.leader()
    sleeper = stage.dice.choice(others(stage, leader.name))
    async with restored(stage):
        async with armed(stage, sleeper, f"{POINT}=stop@{stage.dice.randint(15, 40)}") as fault:
            await start_all(
                [
                    make_way(
                        stage, [sleeper], lambda name: _asleep(stage, name, fault), patience_s=PATIENCE_S
                    ),
                    # Beside it: two seconds later the database ends a transaction that does nothing.
                    stage.expect(
                        f"{sleeper} sleeps in a transaction that holds the fence",
                        lambda: _held(stage, sleeper, fault),
                        fault,
                        patience_s=PATIENCE_S,
                    ),
                ]
            )
            stale = Leader(sleeper, _term(stage, sleeper, fault))
            successor = await stage.expect_successor(stale, fault)
            await stage.expect(
                "its successor ended its sessions",
                lambda: _sessions_ended(stage, successor, fault),
                fault,
                tell=lambda count: f"{count} sessions",
            )
        await expect_stood_down(stage, stale, fault, words=STALE)
        await observe_silence(stage, stale, successor, fault)


def _asleep(stage: Stage, name: str, fault: Fault) -> bool:
    return bool(stage.eyes.logged(name, "failpoint.hit", since=fault.began_at, name=POINT))


def _term(stage: Stage, name: str, fault: Fault) -> int:
    return int(stage.eyes.logged(name, "term.started", since=fault.began_at)[-1]["token"])


async def _held(stage: Stage, name: str, fault: Fault) -> str | None:
    if not _asleep(stage, name, fault):
        return None
    try:
        await stage.eyes.fetch(_HOLD)
    except asyncpg.LockNotAvailableError as error:
        return str(error)
    return None


async def _sessions_ended(stage: Stage, successor: Leader, fault: Fault) -> int | None:
    lines = stage.eyes.logged(
        successor.name, "sessions.terminated", since=fault.began_at, token=successor.term
    )
    return int(lines[0]["count"]) if lines else None
