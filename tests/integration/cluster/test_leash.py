"""The leash on real processes: reports, sweeps, and outlives nobody."""

import os
import signal
from pathlib import Path

import pytest
from tests.support.processes import eventually, is_gone

from cluster.environment import clean_environment
from cluster.errors import StartError
from cluster.leash import parents
from cluster.leashed import Command, LeashedRun, descendants, launch


async def run_shell(script: str, log: Path) -> LeashedRun:
    return await launch("shell", Command(("/bin/sh", "-c", script), clean_environment()), log)


async def test_the_exit_status_of_the_command_is_reported(tmp_path: Path) -> None:
    run = await run_shell("echo words; exit 7", tmp_path / "log")
    assert await run.wait_exit() == 7
    assert run.exit_code == 7
    assert not run.is_running
    assert (tmp_path / "log").read_text() == "words\n"


async def test_death_by_a_signal_is_reported_as_its_negative_number(tmp_path: Path) -> None:
    run = await run_shell("exec sleep 60", tmp_path / "log")
    assert run.is_running
    run.send_signal(signal.SIGKILL)
    assert await run.wait_exit() == -signal.SIGKILL


async def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="ghost: cannot execute /no/such/program: No such file"):
        await launch("ghost", Command(("/no/such/program",), clean_environment()), tmp_path / "log")


async def test_orphans_in_sessions_of_their_own_are_gone_before_the_end_is_reported(tmp_path: Path) -> None:
    script = f"setsid sh -c 'sleep 60 & echo $! > {tmp_path}/orphan; wait' & wait"
    run = await run_shell(f"trap 'exit 0' TERM; {script}", tmp_path / "log")
    note = tmp_path / "orphan"
    await eventually(lambda: note.exists() and note.read_text().endswith("\n"))
    orphan = int(note.read_text())
    assert orphan in descendants(run.pid)
    run.send_signal(signal.SIGTERM)
    assert await run.wait_exit() == 0
    assert is_gone(orphan)


async def test_the_command_dies_with_its_leash(tmp_path: Path) -> None:
    run = await run_shell("exec sleep 60", tmp_path / "log")
    os.kill(parents()[run.pid], signal.SIGKILL)
    await eventually(lambda: is_gone(run.pid))
    assert await run.wait_exit() == -signal.SIGKILL


async def test_a_frozen_tree_dies_when_the_lifeline_closes(tmp_path: Path) -> None:
    run = await run_shell("sleep 60 & sleep 60 & wait", tmp_path / "log")
    await eventually(lambda: len(descendants(run.pid)) == 2)
    tree = [run.pid, *descendants(run.pid)]
    run.send_signal_to_tree(signal.SIGSTOP)
    run.cut_lifeline()
    await run.wait_exit()
    assert all(is_gone(pid) for pid in tree)


async def test_a_sigterm_sent_to_the_leash_reaches_the_command(tmp_path: Path) -> None:
    run = await run_shell("trap 'exit 5' TERM; echo up; while :; do sleep 0.05; done", tmp_path / "log")
    await eventually(lambda: "up" in (tmp_path / "log").read_text())
    os.kill(parents()[run.pid], signal.SIGTERM)
    assert await run.wait_exit() == 5
