"""Faults of PostgreSQL: crashes, a frozen server, sessions that are ended, a full disk under its log."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from chaos.drive.eyes import AwayError
from chaos.drive.record import Fault
from chaos.drive.stage import Skipped, Stage
from chaos.drive.target import Need, Target
from chaos.faults.etcd import expect_silent, lasting
from chaos.faults.mixable import MixFault, Settings
from chaos.faults.processes import frozen
from cluster.errors import NotPermittedError

POSTGRES = "postgres"
FULL = b"No space left on device"
NOTICE_S = 15.0
_APPLICATION = ["middleman_api", "middleman_replica"]
_FIND = "SELECT pid FROM pg_stat_activity WHERE usename = ANY($1) ORDER BY pid"
_END = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM unnest($1::int[]) AS pid"

Death = Literal["kill", "stop-immediate"]


@asynccontextmanager
async def crashed(stage: Stage, death: Death) -> AsyncIterator[Fault]:
    """Down inside, without a checkpoint; at the end started, and ready.

    `kill` is SIGKILL to the postmaster; `stop-immediate` is `pg_ctl stop -m immediate`, and takes `Need.DATA`.
    """
    async with stage.fault(death, POSTGRES) as fault:
        try:
            if death == "kill":
                await stage.target.kill(POSTGRES)
            else:
                await stage.target.cluster.postgres.stop(mode="immediate")
            yield fault
        finally:
            await stage.target.start(POSTGRES)


@asynccontextmanager
async def full_log_disk(stage: Stage) -> AsyncIterator[Fault]:
    """Inside, there is no byte left for the write-ahead log. `Need.DATA`.

    Before, the log is moved to a small disk, and afterwards back, for which the server is restarted: a fault as well.
    Raises `Skipped` where no disk may be mounted.
    """
    postgres = stage.target.cluster.postgres
    try:
        async with stage.fault("move-log", POSTGRES), postgres.wal_on_small_disk() as disk:
            await stage.leader()
            async with stage.fault("fill-log-disk", POSTGRES) as fault:
                try:
                    await disk.fill()
                    yield fault
                finally:
                    await disk.free()
    except NotPermittedError as error:
        raise Skipped(str(error)) from error


async def times_full(stage: Stage) -> int:
    """How often PostgreSQL has said so far that its disk was full. `Need.DATA`."""
    log: Path = stage.target.cluster.postgres.log_path
    return await asyncio.to_thread(lambda: log.read_bytes().count(FULL))


async def expect_full(stage: Stage, before: int, fault: Fault) -> None:
    """Note that PostgreSQL says so again."""

    async def look() -> str | None:
        said = await times_full(stage) - before
        return f"it said so {said} times" if said else None

    await stage.expect("PostgreSQL finds its disk full", look, fault, patience_s=NOTICE_S)


async def end_sessions(stage: Stage, dice: random.Random, share: float) -> int:
    """End this share of the application's sessions, at least one where there is any; returns how many were."""
    found = [row["pid"] for row in await stage.eyes.fetch(_FIND, _APPLICATION)]
    chosen = dice.sample(found, min(len(found), max(1, round(share * len(found)))))
    return int(await stage.eyes.value(_END, chosen))


@asynccontextmanager
async def sessions_ending(
    stage: Stage, dice: random.Random, *, share: float, pause_s: float
) -> AsyncIterator[tuple[Fault, list[int]]]:
    """Inside, sessions are ended again and again; yields the fault, and how many each burst ended so far."""
    async with stage.fault("end-sessions", POSTGRES, share=share, pause_s=pause_s) as fault:
        ended: list[int] = []
        bursts = asyncio.create_task(_bursts(stage, dice, share, pause_s, ended))
        try:
            yield fault, ended
        finally:
            bursts.cancel()
            await asyncio.wait({bursts})


async def _bursts(stage: Stage, dice: random.Random, share: float, pause_s: float, ended: list[int]) -> None:
    while True:
        try:
            ended.append(await end_sessions(stage, dice, share))
        except AwayError:
            ended.append(0)  # the next burst finds more
        await asyncio.sleep(dice.uniform(0.5, 1.5) * pause_s)


async def expect_ended(stage: Stage, ended: list[int], fault: Fault) -> None:
    """Note that sessions were ended, as the database says."""

    async def look() -> str | None:
        return f"{sum(ended)} sessions in {len(ended)} bursts" if sum(ended) else None

    await stage.expect("sessions are ended", look, fault, patience_s=NOTICE_S)


async def _crash(stage: Stage, settings: Settings, lasts_s: float) -> None:
    async with crashed(stage, settings["death"]) as fault, lasting(lasts_s):
        await expect_silent(stage, POSTGRES, fault)


async def _freeze(stage: Stage, _settings: Settings, lasts_s: float) -> None:
    async with frozen(stage, POSTGRES) as fault, lasting(lasts_s):
        await expect_silent(stage, POSTGRES, fault)


async def _end_sessions(stage: Stage, settings: Settings, lasts_s: float) -> None:
    dice = random.Random(settings["seed"])  # noqa: S311  # repeatable on purpose
    bursts = sessions_ending(stage, dice, share=settings["share"], pause_s=settings["pause_s"])
    async with bursts as (fault, ended), lasting(lasts_s):
        await expect_ended(stage, ended, fault)


def _killed(_dice: random.Random, _target: Target) -> Settings:
    return {"death": "kill"}


def _stopped(_dice: random.Random, _target: Target) -> Settings:
    return {"death": "stop-immediate"}


def _nothing(_dice: random.Random, _target: Target) -> Settings:
    return {}


def _any_bursts(dice: random.Random, _target: Target) -> Settings:
    return {
        "share": round(dice.uniform(0.2, 1.0), 2),
        "pause_s": round(dice.uniform(0.2, 1.0), 2),
        "seed": dice.randrange(2**31),
    }


def _touches_postgres(_settings: Settings) -> frozenset[str]:
    return frozenset({POSTGRES})


MIX: tuple[MixFault, ...] = (
    MixFault(
        name="postgres-kill",
        weight=1,
        lasts_s=(0.0, 3.0),
        draw=_killed,
        touches=_touches_postgres,
        inject=_crash,
    ),
    MixFault(
        name="postgres-stop-immediate",
        weight=2,
        lasts_s=(0.0, 3.0),
        draw=_stopped,
        touches=_touches_postgres,
        inject=_crash,
        needs=frozenset({Need.DATA}),
    ),
    MixFault(
        name="postgres-freeze",
        weight=2,
        lasts_s=(1.0, 8.0),
        draw=_nothing,
        touches=_touches_postgres,
        inject=_freeze,
    ),
    MixFault(
        name="postgres-end-sessions",
        weight=3,
        lasts_s=(1.0, 6.0),
        draw=_any_bursts,
        touches=_touches_postgres,
        inject=_end_sessions,
    ),
)
