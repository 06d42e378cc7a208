"""For tests that deal with processes: patience with a bound, who is gone, stand-ins for our programs."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.spec import Commands

_SOURCES = Path(__file__).resolve().parents[2] / "services"
_STAND_IN = Path(__file__).with_name("stand_in.py")


async def eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Polls a condition of the outside world until it holds; raises `TimeoutError` after `timeout_s`."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110  # other processes set no events of ours
            await asyncio.sleep(0.02)


def is_gone(pid: int) -> bool:
    """Whether a pid no longer names a live process; a zombie that nobody has reaped yet counts as gone."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return True
    return state in "ZX"


def stand_in(kind: str) -> tuple[str, ...]:
    """The command line of a stand-in, see `stand_in.py`."""
    return (sys.executable, "-I", "-S", str(_STAND_IN), kind)


def stand_in_commands() -> Commands:
    """A stand-in for everything but PostgreSQL and etcd."""
    return Commands(
        migrate=stand_in("migrate"),
        api=stand_in("api"),
        replica=stand_in("replica"),
        sandbox=stand_in("sandbox"),
    )


def run_middleman(
    arguments: Sequence[str], cwd: Path, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """`middleman …` in an environment that holds nothing else, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "middleman.entrypoints.cli", *arguments],
        env={"PYTHONPATH": str(_SOURCES), "PATH": "/usr/bin:/bin", "HOME": str(cwd), **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
