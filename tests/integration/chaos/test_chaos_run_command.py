"""`middleman chaos run` as a person runs it: a short mix, a kill of the leader, an end by Ctrl-C."""

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

RUN = (sys.executable, "-m", "middleman.entrypoints.cli", "chaos", "run")
BOUND_S = 240
MIX_S, SEED = 30, 49  # a dense one: thirteen faults of twelve kinds


async def _start(directory: Path, report: Path, *options: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *RUN, *options, "--data-dir", str(directory), "--report", str(report), stdout=PIPE, stderr=PIPE
    )


async def _finish(process: Process, *, status: int = 0) -> tuple[str, str]:
    try:
        async with asyncio.timeout(BOUND_S):
            output, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == status, output.decode()[-3000:] + told.decode()[-5000:]
    return output.decode(), told.decode()


def _report(directory: Path) -> dict[str, Any]:
    page = (directory / "report.html").read_text()
    assert "<svg" in page
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:""", page), "it opens without a network"
    report: dict[str, Any] = json.loads((directory / "report.json").read_text())
    invariants = {result["name"]: result for result in report["final"]["invariants"]}
    assert set(invariants) == {f"I{number}" for number in range(1, 10)}
    for name in ("I1", "I2", "I3", "I8", "I9"):
        assert invariants[name]["checked"] > 0, name
    return report


@pytest.mark.timeout(BOUND_S + 20)
async def test_a_mix_of_overlapping_faults_leaves_every_charge_right(
    server_root: Path, tmp_path: Path
) -> None:
    options = ("--scenario", "random", "--seed", str(SEED), "--duration-s", str(MIX_S))
    process = await _start(server_root / "run-mix", tmp_path, *options)
    output, told = await _finish(process)
    report = _report(tmp_path)
    assert report["holds"], output + told
    assert "the verdict holds" in output
    assert len(report["schedule"]) >= 8
    [mix] = report["scenarios"]
    assert len({fault["kind"] for fault in mix["faults"]}) >= 5
    assert report["command"].endswith(f"chaos run --scenario random --seed {SEED} --duration-s {MIX_S}")
    assert report["workload"]["created"] > 0


@pytest.mark.timeout(BOUND_S + 20)
async def test_the_leader_is_killed_and_the_successor_seen_and_ctrl_c_in_what_comes_next_is_judged(
    server_root: Path, tmp_path: Path
) -> None:
    options = ("--scenario", "kill-leader,postgres-freeze", "--seed", "4")
    process = await _start(server_root / "run-stopped", tmp_path, *options)
    assert process.stderr is not None
    async with asyncio.timeout(BOUND_S):
        while b"postgres-freeze: freeze postgres" not in (line := await process.stderr.readline()):
            assert line, "it ended before PostgreSQL was frozen"
    process.send_signal(signal.SIGINT)
    output, _ = await _finish(process, status=1)
    report = _report(tmp_path)
    assert report["interrupted"]
    assert not report["holds"], "not everything that was asked for was seen"
    assert report["final"]["holds"], output

    kill, freeze = report["scenarios"]
    assert (kill["name"], kill["state"]) == ("kill-leader", "passed")
    assert kill["observations"]
    assert all(observation["made"] for observation in kill["observations"])
    [fault] = [fault for fault in kill["faults"] if fault["whom"].startswith("replica-")]
    takeovers = report["timeline"]["takeovers"]
    assert any(each["fault"] == fault["number"] and each["first_charge_s"] > 0 for each in takeovers)
    assert freeze["reason"].startswith("interrupted")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--scenario", "kill-liter"), "no scenario 'kill-liter'"),
        (("--scenario", "all", "--duration-s", "9"), "only --scenario random takes one"),
        (("--scenario", "random", "--duration-s", "1"), "must be from 5"),
    ],
)
async def test_misuse_is_one_line(options: tuple[str, ...], told: str, tmp_path: Path) -> None:
    process = await _start(tmp_path / "never", tmp_path / "report", *options)
    _, complaint = await _finish(process, status=2)
    assert told in complaint
    assert len(complaint.splitlines()) == 1
    assert not (tmp_path / "never").exists()
