"""Nothing outlives the supervisor, whatever ends it."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.support.processes import eventually, is_gone

from cluster.leashed import descendants
from cluster.state import ClusterState

_READY_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 20.0


async def start_supervisor(data_dir: Path) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.supervisor_script", str(data_dir)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    async with asyncio.timeout(_READY_TIMEOUT_S):
        assert await process.stdout.readline() == b"ready\n"
    return process


async def test_after_sigkill_of_the_supervisor_all_processes_vanish_even_frozen_ones(short_dir: Path) -> None:
    supervisor = await start_supervisor(short_dir / "cluster")
    everyone = descendants(supervisor.pid)
    pid_by_name = {member.name: member.pid for member in ClusterState.load(short_dir / "cluster").members}
    assert {pid for pid in pid_by_name.values() if pid is not None} < set(everyone)
    assert len(everyone) > 2 * len(pid_by_name)  # a leash for each, and Postgres' own children
    for name in ("postgres", "etcd-1", "replica-1"):
        root = pid_by_name[name]
        assert root is not None
        for pid in (root, *descendants(root)):
            os.kill(pid, signal.SIGSTOP)
    supervisor.kill()
    await supervisor.wait()
    await eventually(lambda: all(is_gone(pid) for pid in everyone))

    again = await start_supervisor(short_dir / "cluster")  # and the data can be used at once
    await stop(again, signal.SIGKILL)


async def test_sigterm_to_the_supervisor_stops_everything_cleanly(short_dir: Path) -> None:
    supervisor = await start_supervisor(short_dir / "cluster")
    everyone = descendants(supervisor.pid)
    assert await stop(supervisor, signal.SIGTERM) == 0
    assert all(is_gone(pid) for pid in everyone)
    log = (short_dir / "cluster" / "logs" / "postgres.log").read_text()
    assert "database system is shut down" in log.splitlines()[-1]


async def test_a_ctrl_c_on_the_terminal_stops_everything_cleanly(short_dir: Path) -> None:
    supervisor = await start_supervisor(short_dir / "cluster")
    everyone = descendants(supervisor.pid)
    await stop(supervisor, signal.SIGINT)
    assert all(is_gone(pid) for pid in everyone)
    assert not (short_dir / "cluster" / "state.json").exists()


async def stop(process: asyncio.subprocess.Process, number: signal.Signals) -> int:
    everyone = descendants(process.pid)
    process.send_signal(number)
    async with asyncio.timeout(_STOP_TIMEOUT_S):
        code = await process.wait()
    await eventually(lambda: all(is_gone(pid) for pid in everyone))
    return code
