"""The last resort: a process whose pipeline ignores its cancellation ends all the same."""

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

# As an entry point runs it, with a task that nothing but the end of the process ends.
SCRIPT = """
import asyncio
from types import SimpleNamespace
from unittest.mock import MagicMock

import uvloop

from middleman.entrypoints.replica.__main__ import _live
from middleman.leadership.tenure import PipelineStuck


async def stubborn():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass


async def get_stuck(stopping):
    stuck.append(asyncio.create_task(stubborn()))
    await asyncio.sleep(0)
    raise PipelineStuck("lead-1 ignored its cancellation")


class Replica:
    life = SimpleNamespace(run=get_stuck)

    def __getattr__(self, name):
        return lambda *_: asyncio.sleep(3600)  # its chores


stuck = []
uvloop.run(_live(Replica(), MagicMock(), None))
"""


async def test_a_process_whose_pipeline_is_stuck_exits_without_waiting_for_it() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SCRIPT),
        cwd=ROOT / "services",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(30):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 1, output.decode()
    assert b"replica.stuck" in output
