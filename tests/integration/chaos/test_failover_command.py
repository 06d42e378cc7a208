"""`middleman chaos failover` as a person runs it. How fast it is depends on the machine, and is not asserted."""

import asyncio
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import pytest

FAILOVER = (sys.executable, "-m", "middleman.entrypoints.cli", "chaos", "failover")
BOUND_S = 100


async def start(kind: str, runs: int, directory: Path, report: Path) -> Process:
    return await asyncio.create_subprocess_exec(
        *FAILOVER,
        *("--kind", kind, "--runs", str(runs), "--seed", "3"),
        *("--data-dir", str(directory), "--json", str(report)),
        stdout=PIPE,
        stderr=PIPE,
    )


async def finish(process: Process) -> tuple[str, str]:
    try:
        async with asyncio.timeout(BOUND_S):
            output, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, told.decode().splitlines()[-10:]
    return output.decode(), told.decode()


def each_takes_over_from_another(runs: list[dict[str, Any]]) -> None:
    for run in runs:
        assert run["victim"] != run["successor"]
        assert run["successor_term"] > run["victim_term"]
        own = run["measured"]
        assert own["charged_s"] >= own["in_office_s"] >= own["elected_s"] > 0, "the successor tells the same"
        assert run["stages"]["charged_s"] >= run["stages"]["in_office_s"] >= run["stages"]["elected_s"] > 0
    terms = [run["successor_term"] for run in runs]
    assert terms == sorted(set(terms))


@pytest.mark.timeout(BOUND_S + 20)
async def test_a_crash_is_measured_with_the_pulse_and_without(server_root: Path, tmp_path: Path) -> None:
    report = tmp_path / "crash.json"
    output, told = await finish(await start("crash", 1, server_root / "failover-crash", report))
    assert "the verdict holds" in output
    assert "without the pulse it takes" in output
    assert re.search(r"crash 1/1 \(lease-only\): replica-\d -> replica-\d, term \d+: charges after", told)
    result = json.loads(report.read_text())
    assert result["holds"]
    assert (result["interrupted"], result["failure"], result["left_moving"]) == (False, "", "")
    assert [(run["path"], run["number"]) for run in result["runs"]] == [
        ("pulse", 1),
        ("lease-only", 1),
    ]
    each_takes_over_from_another(result["runs"])
    for path in ("pulse", "lease-only"):
        assert result["paths"][path]["charged_s"]["count"] == 1
    assert all("revoked_s" not in run["stages"] for run in result["runs"] if run["path"] == "lease-only")
    lease_only, pulse = (result["paths"][path]["charged_s"]["median_s"] for path in ("lease-only", "pulse"))
    assert result["ratio"] == pytest.approx(lease_only / pulse, rel=0.01)
    assert result["verdict"]["at_rest"]
    assert result["verdict"]["counts"]["charges_succeeded"] == result["verdict"]["counts"]["periods_due"] > 0


@pytest.mark.timeout(BOUND_S + 20)
async def test_a_leader_that_is_cut_off_stands_down_and_another_charges_until_ctrl_c_which_is_judged(
    server_root: Path, tmp_path: Path
) -> None:
    report = tmp_path / "partition.json"
    process = await start("partition", 1000, server_root / "failover-partition", report)
    assert process.stderr is not None
    async with asyncio.timeout(BOUND_S):
        while line := (await process.stderr.readline()).decode():
            if line.startswith("partition 1/1000"):
                break
        process.send_signal(signal.SIGINT)
    output, _ = await finish(process)
    assert "interrupted: the remaining runs were not made" in output
    result = json.loads(report.read_text())
    assert result["interrupted"]
    assert result["holds"]
    assert result["verdict"]["at_rest"]
    assert list(result["paths"]) == ["pulse"]
    assert result["ratio"] is None
    assert 1 <= len(result["runs"]) < 1000
    each_takes_over_from_another(result["runs"])
    first = result["runs"][0]
    assert first["stages"]["stood_down_s"] > 0
    assert "revoked_s" not in first["stages"]
