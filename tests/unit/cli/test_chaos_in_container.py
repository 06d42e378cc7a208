"""`middleman chaos run --target compose` outside: what it asks of docker, and that it ends as that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.run.plan import Plan
from middleman.entrypoints.cli import main

FAKE = """#!/bin/sh
if [ "$1" = kill ]; then
    [ -e "$TOLD.early" ] || { touch "$TOLD.early"; exit 1; }   # still being created
    printf '%s\\n' "$*" > "$TOLD.kill"
    exit
fi
printf '%s\\n%s\\n' "$*" "$CHAOS_REPORT_DIR" > "$TOLD.draft"
mv "$TOLD.draft" "$TOLD"
tries=0
while [ -n "$UNTIL_KILLED" ] && [ ! -e "$TOLD.kill" ] && [ $tries -lt 300 ]; do tries=$((tries + 1)); sleep 0.05; done
[ $tries -lt 300 ] || exit 99
exit "${DOCKER_STATUS:-0}"
"""


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a command `docker` writes down how it was called."""
    command = tmp_path / "bin/docker"
    command.parent.mkdir()
    command.write_text(FAKE)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TOLD", str(tmp_path / "told"))
    monkeypatch.delenv("MIDDLEMAN_CHAOS_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "told"


def status_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["chaos", "run", "--target", "compose", *arguments])
    return ended.value.code


def test_the_plan_goes_to_the_container_and_the_report_into_a_directory_that_exists(
    told: Path, tmp_path: Path
) -> None:
    arguments = ("--scenario", "random", "--seed", "7", "--duration-s", "30", "--report", "out/here")
    assert status_of(*arguments) == 0
    command, report_dir = told.read_text().splitlines()
    assert command.startswith("compose --profile chaos run --rm ")
    assert command.endswith(" chaos --scenario random --seed 7 --duration-s 30")
    assert report_dir == str(tmp_path / "out/here")
    assert Path(report_dir).is_dir()


@pytest.mark.parametrize("status", [1, 2, 130])
def test_it_ends_as_the_run_in_the_container_ends(
    told: Path, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_STATUS", str(status))
    assert status_of("--scenario", "kill-leader") == status
    assert told.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_reaches_the_container_once_and_the_run_is_waited_for(
    told: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNTIL_KILLED", "1")
    monkeypatch.setenv("DOCKER_STATUS", "7")
    command = (sys.executable, "-m", "middleman.entrypoints.cli", "chaos", "run", "--target", "compose")
    with subprocess.Popen((*command, "--scenario", "kill-leader"), stdin=subprocess.DEVNULL) as running:
        deadline_s = time.monotonic() + 30
        while not told.exists() and time.monotonic() < deadline_s:
            time.sleep(0.02)
        running.send_signal(number)
        assert running.wait(timeout=30) == 7
    name = told.read_text().partition(" --name ")[2].split()[0]
    assert Path(f"{told}.kill").read_text() == f"kill --signal INT {name}\n"


def test_without_docker_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("MIDDLEMAN_CHAOS_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert status_of("--scenario", "kill-leader") == 2
    assert "install Docker with Compose v2" in capsys.readouterr().err


def test_a_plan_that_makes_no_sense_does_not_get_as_far_as_docker(told: Path) -> None:
    assert status_of("--scenario", "kill-leader,kill-everybody") == 2
    assert not told.exists()


def test_inside_a_container_whose_stack_is_not_there_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MIDDLEMAN_CHAOS_PROJECT", "middleman")
    monkeypatch.delenv("SECRETS_DIR", raising=False)
    monkeypatch.delenv("STRIPE_API_KEY", raising=False)
    assert status_of("--scenario", "kill-leader", "--report", str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith("middleman: SECRETS_DIR is not set")


def test_several_scenarios_are_played_in_the_order_in_which_they_are_named() -> None:
    plan = Plan(scenario="postgres-kill,kill-leader", target="compose")
    assert [each.name for each in plan.scenarios(())] == ["postgres-kill", "kill-leader"]
    assert plan.command.endswith("--scenario postgres-kill,kill-leader --seed 1 --target compose")
    assert "--target" not in Plan(scenario="kill-leader").command
