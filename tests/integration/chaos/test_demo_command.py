"""`middleman demo` as a person runs it: started, watched, ended with Ctrl-C."""

import asyncio
import json
import os
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

DEMO = (sys.executable, "-m", "middleman.entrypoints.cli", "demo")
# What a shell may hold for other databases, and an output that has no check mark.
ELSEWHERE = os.environ | {
    "PGSSLMODE": "require",
    "PGTARGETSESSIONATTRS": "standby",
    "PGHOST": "192.0.2.1",
    "PGOPTIONS": "-c search_path=nowhere",
    "PGTZ": "Asia/Kathmandu",
    "PYTHONIOENCODING": "ascii:strict",
}
BOUND_S = 90


async def test_ctrl_c_ends_the_demo_with_a_verdict(server_root: Path, tmp_path: Path) -> None:
    """Not before a leader was killed and its successor charges."""
    verdict_file, picture = tmp_path / "verdict.json", tmp_path / "demo.svg"
    process = await asyncio.create_subprocess_exec(
        *DEMO,
        *("--subscribers", "60", "--kill-leader-every-s", "3", "--seed", "5"),
        *("--data-dir", str(server_root / "demo"), "--json", str(verdict_file), "--svg", str(picture)),
        stdout=PIPE,
        stderr=PIPE,
        env=ELSEWHERE,
    )
    try:
        async with asyncio.timeout(BOUND_S):
            lines = await _until(process, r"leads term [2-9].* [1-9] leaders killed")
            process.send_signal(signal.SIGINT)
            output, rest = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, (lines + rest.decode().splitlines())[-10:]
    assert "the verdict holds" in output.decode()
    told = json.loads(verdict_file.read_text())
    assert told["holds"]
    assert told["at_rest"]
    assert told["run"]["leaders_killed"] >= 1
    assert told["run"]["takeovers"][0]["took_office_s"] > 0
    billed, postponed = sum(told["counts"]["invoices"].values()), told["counts"]["periods_postponed"]
    assert told["counts"]["periods_due"] == billed + postponed
    assert told["counts"]["charges_succeeded"] == told["counts"]["invoices"]["paid"] > 0
    tally = told["run"]["tally"]
    assert tally["is_exact"]
    assert tally["charges_expected"] == tally["charges_made"] == told["counts"]["charges_succeeded"]
    assert picture.read_text().startswith("<svg")
    assert not (server_root / "demo" / "state.json").exists()


async def _until(process: Process, pattern: str) -> list[str]:
    """The lines of standard error up to the first that matches."""
    assert process.stderr is not None
    lines: list[str] = []
    while line := (await process.stderr.readline()).decode():
        lines.append(line.rstrip())
        if re.search(pattern, line):
            return lines
    raise AssertionError(f"it ended before: {lines[-10:]}")
