"""Starting one command on a leash, and hearing when it and everything below it is gone."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cluster import leash
from cluster.errors import StartError
from cluster.logs import opened_for_append
from cluster.users import User

_LAUNCH_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Command:
    """What to execute: argument list, whole environment, working directory, and as whom (None: as we are)."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path | None = None
    run_as: User | None = None


class LeashedRun:
    """One run of a command, from its start until the last of its descendants is gone."""

    def __init__(self, process: asyncio.subprocess.Process, pid: int) -> None:
        self.pid = pid
        self._process = process
        self._follower = asyncio.create_task(self._follow())

    @property
    def is_running(self) -> bool:
        return not self._follower.done()

    @property
    def exit_code(self) -> int | None:
        """The command's exit status, negative for a signal; None while it runs."""
        return self._follower.result() if self._follower.done() else None

    async def wait_exit(self) -> int:
        """Waits for the end of the whole tree; the exit status of the command itself."""
        return await asyncio.shield(self._follower)

    def add_exit_callback(self, callback: Callable[[], None]) -> None:
        """Calls `callback` at the end, before anyone who waits for it goes on."""
        self._follower.add_done_callback(lambda _: callback())

    def send_signal(self, number: signal.Signals) -> None:
        """Signals the command itself; nothing happens when it is gone already."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def send_signal_to_tree(self, number: signal.Signals) -> None:
        """Signals the command and then its descendants, which may live in sessions of their own."""
        self.send_signal(number)
        # Twice: a child may have been forked between the look and the arrival of the first signal.
        for _ in range(2):
            for pid in descendants(self.pid) if self.is_running else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def cut_lifeline(self) -> None:
        """What our own death would do: the leash kills the whole tree, frozen processes included."""
        assert self._process.stdin is not None  # asked for in launch()
        self._process.stdin.close()

    async def _follow(self) -> int:
        assert self._process.stdout is not None  # asked for below
        code = -signal.SIGKILL  # what is true when the leash itself was killed: its command dies with it
        async for line in self._process.stdout:
            word, _, value = line.decode().strip().partition(" ")
            if word == "exited":
                code = int(value)
        await self._process.wait()
        return code


def descendants(pid: int) -> list[int]:
    """Children, grandchildren and so on of a process, parents first."""
    parent_by_pid = leash.parents()
    found: list[int] = []
    generation = {pid}
    while generation:
        generation = {child for child, parent in parent_by_pid.items() if parent in generation}
        found.extend(sorted(generation))
    return found


async def launch(name: str, command: Command, log_path: Path) -> LeashedRun:
    """Starts a command on a leash, its output appended to `log_path`; raises `StartError`."""
    arguments = [sys.executable, "-I", "-S", leash.__file__]
    if command.run_as is not None:
        arguments += ["--uid", str(command.run_as.uid), "--gid", str(command.run_as.gid)]
    if command.cwd is not None:
        arguments += ["--cwd", str(command.cwd)]
    with opened_for_append(log_path) as log:
        process = await asyncio.create_subprocess_exec(
            *arguments,
            "--",
            *command.argv,
            env=dict(command.env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,  # a Ctrl-C on the terminal is for the supervisor alone
        )
    assert process.stdout is not None  # asked for above
    try:
        async with asyncio.timeout(_LAUNCH_TIMEOUT_S):
            report = (await process.stdout.readline()).decode().strip()
    except BaseException:
        process.kill()  # cancelled or too late: nothing may stay behind
        raise
    word, _, value = report.partition(" ")
    if word != "started":
        await process.wait()
        reason = value or f"the leash said {report!r}; see {log_path}"
        raise StartError(f"{name}: cannot execute {command.argv[0]}: {reason}")
    return LeashedRun(process, int(value))
