"""Faults of single processes: killed, asked to stop, frozen, short of breath, or doomed at a failpoint.

Each is a context manager that declares the fault, strikes on the way in, and undoes it on the way out, whatever
happens in between. Members are named as in `chaos.drive.target.Target`.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from chaos.drive.record import Fault
from chaos.drive.stage import Stage
from chaos.drive.target import Target
from cluster.together import gather_all

FAILPOINTS = "MIDDLEMAN_FAILPOINTS"


@asynccontextmanager
async def killed(stage: Stage, name: str) -> AsyncIterator[Fault]:
    """SIGKILL; started again at the end, and not waited for."""
    async with stage.fault("kill", name) as fault:
        try:
            await stage.target.kill(name)
            yield fault
        finally:
            await stage.target.launch(name)


@asynccontextmanager
async def all_killed(stage: Stage, names: Sequence[str]) -> AsyncIterator[list[Fault]]:
    """SIGKILL to all of them at once; started again at the end, and not waited for."""
    async with AsyncExitStack() as declared:
        faults = [await declared.enter_async_context(stage.fault("kill", name)) for name in names]
        try:
            await gather_all(stage.target.kill(name) for name in names)
            yield faults
        finally:
            await gather_all(stage.target.launch(name) for name in names)


@asynccontextmanager
async def terminated(stage: Stage, name: str) -> AsyncIterator[Fault]:
    """SIGTERM, and inside the process is gone; started again at the end, and not waited for."""
    async with stage.fault("terminate", name) as fault:
        try:
            await stage.target.terminate(name)
            yield fault
        finally:
            await stage.target.launch(name)


@asynccontextmanager
async def frozen(stage: Stage, name: str) -> AsyncIterator[Fault]:
    """SIGSTOP until the end."""
    async with stage.fault("freeze", name) as fault:
        try:
            await stage.target.pause(name)
            yield fault
        finally:
            await stage.target.resume(name)


@asynccontextmanager
async def stuttering(stage: Stage, name: str, *, stop_s: float, run_s: float) -> AsyncIterator[Fault]:
    """Frozen for `stop_s`, running for `run_s`, and so on until the end: a machine short of breath."""
    async with stage.fault("stutter", name, stop_s=stop_s, run_s=run_s) as fault:
        bursts = asyncio.create_task(_stop_and_go(stage.target, name, stop_s, run_s))
        try:
            yield fault
        finally:
            bursts.cancel()
            await asyncio.wait({bursts})
            await stage.target.resume(name)


@asynccontextmanager
async def armed(stage: Stage, name: str, failpoint: str) -> AsyncIterator[Fault]:
    """A replica that was started anew and will die or freeze at `failpoint` (`after_bind=kill@9`).

    It stays armed until `restored` ends, or another failpoint is given to it. `Need.RELAUNCH`.
    """
    async with stage.fault("failpoint", name, failpoint=failpoint) as fault:
        try:
            await stage.target.relaunch(name, {FAILPOINTS: failpoint})
            yield fault
        finally:
            await stage.target.resume(name)  # it may have frozen itself


@asynccontextmanager
async def restored(stage: Stage) -> AsyncIterator[None]:
    """At the end every replica that was armed inside runs with its usual settings."""
    try:
        yield
    finally:
        await stage.target.restore()


def ended_by(target: Target, name: str) -> str:
    """How a process ended, in words."""
    code = target.exit_code(name)
    if code is None:
        return f"{name} runs"
    return f"{name} died by {signal.Signals(-code).name}" if code < 0 else f"{name} exited with {code}"


def was_killed(target: Target, name: str) -> bool:
    """Whether the last run of it ended by SIGKILL, and no other has begun."""
    return target.exit_code(name) == -signal.SIGKILL


async def _stop_and_go(target: Target, name: str, stop_s: float, run_s: float) -> None:
    while True:
        await target.pause(name)
        await asyncio.sleep(stop_s)
        await target.resume(name)
        await asyncio.sleep(run_s)
