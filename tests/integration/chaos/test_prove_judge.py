"""`middleman chaos prove-judge` as a person runs it: each wrong is caught, by the invariants that it breaks."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

PROVE = (sys.executable, "-m", "middleman.entrypoints.cli", "chaos", "prove-judge")
BOUND_S = 240


@dataclass(frozen=True, slots=True)
class Proved:
    """What the command printed, and wrote."""

    output: str
    result: dict[str, Any]

    def caught(self, name: str) -> dict[str, str]:
        """What turned red, with a finding of each, for a control that was proved."""
        [control] = [each for each in self.result["controls"] if each["name"] == name]
        assert control["holds"], control
        assert control["twin_holds"]
        found: dict[str, str] = control["caught_by"]
        return found


async def start(directory: Path, *options: str) -> Process:
    return await asyncio.create_subprocess_exec(
        *PROVE, "--data-dir", str(directory), *options, stdout=PIPE, stderr=PIPE
    )


async def finish(process: Process) -> tuple[str, str]:
    try:
        async with asyncio.timeout(BOUND_S):
            output, told = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    return output.decode(), told.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def proved(server_root: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Proved]:
    """One run for all tests."""
    report = tmp_path_factory.mktemp("prove") / "proofs.json"
    process = await start(server_root / "prove-judge", "--json", str(report))
    output, told = await finish(process)
    assert process.returncode == 0, told.splitlines()[-20:]
    yield Proved(output, json.loads(report.read_text()))


pytestmark = pytest.mark.timeout(BOUND_S + 20)


async def test_every_wrong_is_caught_and_every_invariant_can_say_no(proved: Proved) -> None:
    assert proved.result["holds"]
    assert proved.result["never_red"] == []
    assert "the judge can say no" in proved.output
    assert "each of I1 to I9 was seen red at least once" in " ".join(proved.output.replace("│", " ").split())
    assert [control["name"] for control in proved.result["controls"]] == [
        *("fence_off", "term_in_key", "intent_per_attempt"),
        *("late", "lost_invoice", "let_off", "turned_down", "doctored_entry"),
        *("wrong_price", "wrong_payer", "swapped_bookings", "refund_beyond"),
    ]


async def test_without_the_fence_a_stale_commit_turns_the_verdict_red(proved: Proved) -> None:
    caught = proved.caught("fence_off")
    assert set(caught) == {"I4"}
    assert "of term 1 were committed after writes of term 2" in caught["I4"]


async def test_a_term_in_the_idempotency_key_creates_one_debt_twice(proved: Proved) -> None:
    caught = proved.caught("term_in_key")
    assert set(caught) == {"I6"}
    assert "2 keys created the same intent" in caught["I6"]


async def test_an_intent_per_attempt_that_takes_silence_for_a_no_charges_twice(proved: Proved) -> None:
    caught = proved.caught("intent_per_attempt")
    assert set(caught) == {"I1", "I2", "I5", "I6", "I9"}
    assert "period 0 was charged 2 times" in caught["I1"]
    assert "booked 17982 on processor_balance" in caught["I9"], (
        "18 invoices of 9.99, of which five were paid twice"
    )
    assert "refunds 22977" in caught["I9"]


async def test_nobody_charging_for_too_long_is_late_unless_a_fault_is_declared(proved: Proved) -> None:
    caught = proved.caught("late")
    assert set(caught) == {"I8"}
    assert "after its deadline" in caught["I8"]


async def test_what_was_tampered_with_is_seen(proved: Proved) -> None:
    assert set(proved.caught("lost_invoice")) == {"I2", "I3", "I5", "I9"}
    assert set(proved.caught("let_off")) == {"I3"}
    assert "names no charge that failed" in proved.caught("let_off")["I3"]
    assert set(proved.caught("turned_down")) == {"I2", "I3", "I9"}
    assert "which is succeeded there" in proved.caught("turned_down")["I3"]
    assert set(proved.caught("doctored_entry")) == {"I9"}
    assert set(proved.caught("wrong_price")) == {"I2"}
    assert "costs 1000 EUR" in proved.caught("wrong_price")["I2"]
    assert set(proved.caught("wrong_payer")) == {"I2"}
    assert set(proved.caught("swapped_bookings")) == {"I9"}
    assert set(proved.caught("refund_beyond")) == {"I7", "I9"}
    assert "refunded 1000 of 999 EUR paid" in proved.caught("refund_beyond")["I7"]


async def test_ctrl_c_gives_up_proves_nothing_and_leaves_nothing_running(
    server_root: Path, tmp_path: Path
) -> None:
    report = tmp_path / "proofs.json"
    process = await start(server_root / "prove-interrupted", "--json", str(report))
    assert process.stderr is not None
    async with asyncio.timeout(BOUND_S):
        while line := (await process.stderr.readline()).decode():
            if line.startswith("fence_off: "):
                break
        pids = _members(server_root / "prove-interrupted")
        process.send_signal(signal.SIGINT)
    output, told = await finish(process)
    assert process.returncode == 130
    assert "nothing was proved" in told
    assert output == ""
    assert not report.exists()
    assert pids
    assert [pid for pid in pids if _exists(pid)] == []


def _exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _members(directory: Path) -> list[int]:
    state = json.loads((directory / "state.json").read_text())
    return [member["pid"] for member in state["members"] if member["pid"] is not None]
