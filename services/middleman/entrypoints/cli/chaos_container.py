"""Hands a chaos run over to the container `chaos` of the compose stack: from there everything can be reached."""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from middleman.entrypoints.cli.saying import MISUSE, fail

if TYPE_CHECKING:
    from chaos.run.plan import Plan


def in_container(plan: "Plan", report_dir: Path) -> NoReturn:
    """Run `docker compose … run chaos` with the same plan, and exit as it does.

    The engine's own networks and volumes have what it takes; nothing of it is published on this machine.
    """
    try:
        report_dir.mkdir(parents=True, exist_ok=True)  # else the engine makes it, and it is root's
    except OSError as error:
        fail(f"cannot write into {report_dir}: {error.strerror}", MISUSE)
    command = ["docker", "compose", "--profile", "chaos", "run", "--rm", "--no-deps"]
    if not sys.stdin.isatty():
        command.append("-T")
    command += ["chaos", "--scenario", plan.scenario, "--seed", str(plan.seed)]
    if plan.duration_s is not None:
        command += ["--duration-s", f"{plan.duration_s:g}"]
    env = os.environ | {"CHAOS_REPORT_DIR": str(report_dir.absolute())}
    try:
        running = subprocess.Popen(command, env=env)  # noqa: S603  # a fixed command, and a plan that was checked
    except OSError as error:
        fail(f"cannot run docker ({error.strerror}): install Docker with Compose v2", MISUSE)
    raise typer.Exit(_status(running))


def _status(running: "subprocess.Popen[bytes]") -> int:
    """Ctrl-C goes to docker as well, which knows what to do at the first and at the third."""
    while True:
        try:
            return running.wait()
        except KeyboardInterrupt:
            continue
