"""`middleman chaos run` as a person runs it: a kill of the leader, a short mix, an end by Ctrl-C."""

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
MIX_S = 75


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
async def test_the_leader_is_killed_and_the_successor_seen(server_root: Path, tmp_path: Path) -> None:
    process = await _start(server_root / "run-kill", tmp_path, "--scenario", "kill-leader", "--seed", "4")
    output, _ = await _finish(process)
    assert "the verdict holds" in output
    report = _report(tmp_path)
    assert report["holds"]
    [scenario] = report["scenarios"]
    assert (scenario["name"], scenario["state"]) == ("kill-leader", "passed")
    assert scenario["observations"]
    assert all(observation["made"] for observation in scenario["observations"])
    [fault] = [fault for fault in scenario["faults"] if fault["whom"].startswith("replica-")]
    takeovers = report["timeline"]["takeovers"]
    assert any(each["fault"] == fault["number"] and each["first_charge_s"] > 0 for each in takeovers)


@pytest.mark.timeout(BOUND_S + 20)
async def test_a_mix_of_overlapping_faults_leaves_every_charge_right(
    server_root: Path, tmp_path: Path
) -> None:
    options = ("--scenario", "random", "--seed", "11", "--duration-s", str(MIX_S))
    process = await _start(server_root / "run-mix", tmp_path, *options)
    output, told = await _finish(process)
    report = _report(tmp_path)
    assert report["holds"], output + told
    assert len(report["schedule"]) >= 10
    [mix] = report["scenarios"]
    assert len({fault["kind"] for fault in mix["faults"]}) >= 5
    assert report["command"].endswith("chaos run --scenario random --seed 11 --duration-s 75")
    assert report["workload"]["created"] > 0


@pytest.mark.timeout(BOUND_S + 20)
async def test_ctrl_c_ends_a_run_with_a_verdict_and_a_failed_scenario(
    server_root: Path, tmp_path: Path
) -> None:
    process = await _start(
        server_root / "run-stopped", tmp_path, "--scenario", "random", "--duration-s", "600"
    )
    assert process.stderr is not None
    async with asyncio.timeout(BOUND_S):
        while b"leads term" not in (line := await process.stderr.readline()):
            assert line, "it ended before the mix began"
    process.send_signal(signal.SIGINT)
    output, _ = await _finish(process, status=1)
    report = _report(tmp_path)
    assert report["interrupted"]
    assert report["final"]["holds"], output
    assert report["scenarios"][0]["reason"].startswith("interrupted")


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
