"""Commands that run once and end: initdb, the migrations."""

import asyncio
import signal
from pathlib import Path

from cluster.errors import StartError
from cluster.leashed import Command, launch
from cluster.logs import size_of, tail

_LOG_TAIL_LINES = 15


async def run_to_end(name: str, command: Command, log_path: Path, *, timeout_s: float) -> None:
    """Runs a one-shot command; raises `StartError` when it fails or takes longer than `timeout_s`."""
    log_start = size_of(log_path)
    run = await launch(name, command, log_path)
    try:
        async with asyncio.timeout(timeout_s):
            code = await run.wait_exit()
    except TimeoutError:
        raise StartError(f"{name} did not end within {timeout_s:g} s; see {log_path}") from None
    finally:
        run.send_signal(signal.SIGKILL)
    if code != 0:
        raise StartError(
            f"{name} failed with exit code {code}; its log {log_path} ends with:\n"
            f"{tail(log_path, log_start, _LOG_TAIL_LINES)}"
        )
