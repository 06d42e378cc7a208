"""The benchmark of the sandbox: it measures, and leaves no sandbox behind however it ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[3] / "loadtest" / "sandbox_bench.py"


def bench(temporary: Path, intents: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, str(BENCH), "--intents", str(intents), "--concurrency", "4"],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
    )


def sandboxes_below(directory: Path) -> list[int]:
    """Processes that keep their ledger below `directory`."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            command = (entry / "cmdline").read_text() if entry.name.isdigit() else ""
        except OSError:
            continue  # gone since the listing
        if "stripe_sandbox" in command and str(directory) in command:
            found.append(int(entry.name))
    return found


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - another process' doing, of which no event tells
            await asyncio.sleep(0.05)


def test_it_measures_and_says_so_in_one_line(tmp_path: Path) -> None:
    said, _ = bench(tmp_path, 20).communicate(timeout=60)
    assert json.loads(said)["requests"] == 40
    assert sandboxes_below(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_its_sandbox_ends_with_it(tmp_path: Path, number: signal.Signals) -> None:
    running = bench(tmp_path, 10_000_000)
    try:
        # A ledger that grows: the measurement is under way.
        await until(lambda: any(log.stat().st_size > 100_000 for log in tmp_path.rglob("*.sqlite3-wal")))
        assert sandboxes_below(tmp_path)
        running.send_signal(number)
        status = await asyncio.to_thread(running.wait, 30)
    finally:
        running.kill()
        running.communicate()
    assert status == (-signal.SIGKILL if number is signal.SIGKILL else 130)
    await until(lambda: not sandboxes_below(tmp_path))
    if number is not signal.SIGKILL:
        await until(lambda: not any(tmp_path.iterdir()))
