"""Hands a chaos run over to the container `chaos` of the compose stack: from there everything can be reached."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from middleman.entrypoints.cli.saying import MISUSE, fail

if TYPE_CHECKING:
    from chaos.run.plan import Plan

_KILL_TIMEOUT_S = 5.0
_PASS_ON_FOR_S = 10.0
"""A container that is still being created takes no signal yet."""
_RETRY_S = 0.2


def in_container(plan: "Plan", report_dir: Path) -> NoReturn:
    """Run `docker compose … run chaos` with the same plan, and exit as it does.

    The engine's own networks and volumes have what it takes; nothing of it is published on this machine.
    """
    try:
        report_dir.mkdir(parents=True, exist_ok=True)  # else the engine makes it, and it is root's
    except OSError as error:
        fail(f"cannot write into {report_dir}: {error.strerror}", MISUSE)
    name, terminal = f"middleman-chaos-{os.getpid()}", sys.stdin.isatty()
    command = ["docker", "compose", "--profile", "chaos", "run", "--rm", "--no-deps", "--name", name]
    if not terminal:
        command.append("-T")
    command += ["chaos", "--scenario", plan.scenario, "--seed", str(plan.seed)]
    if plan.duration_s is not None:
        command += ["--duration-s", f"{plan.duration_s:g}"]
    env = os.environ | {"CHAOS_REPORT_DIR": str(report_dir.absolute())}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        # With a terminal docker has Ctrl-C to itself. Without one it was seen to leave at once, and the run to end without
        # a report, as if told twice: so it gets no signal of ours, and the container gets each of them once.
        running = subprocess.Popen(command, env=env, start_new_session=not terminal)  # noqa: S603  # a fixed command, and a plan that was checked
    except OSError as error:
        fail(f"cannot run docker ({error.strerror}): install Docker with Compose v2", MISUSE)
    raise typer.Exit(_status(running, name))


def _status(running: "subprocess.Popen[bytes]", container: str) -> int:
    """Of the run, which comes to rest and is judged when it is interrupted, and gives up the second time."""
    while True:
        try:
            return running.wait()
        except KeyboardInterrupt:
            _interrupt(running, container)


def _interrupt(running: "subprocess.Popen[bytes]", container: str) -> None:
    deadline_s = time.monotonic() + _PASS_ON_FOR_S
    while running.poll() is None and time.monotonic() < deadline_s:
        with contextlib.suppress(
            subprocess.TimeoutExpired
        ):  # an engine that hangs: once more, while there is time
            told = subprocess.run(  # noqa: S603  # a fixed command
                ["docker", "kill", "--signal", "INT", container],  # noqa: S607  # wherever docker is installed
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_KILL_TIMEOUT_S,
                check=False,
            )
            if told.returncode == 0:
                return
        time.sleep(_RETRY_S)
