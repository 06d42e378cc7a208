"""Starting it wrong: one line that says what to change, and exit status 2."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.sandbox_process import API_KEY, SandboxProcess

from stripe_sandbox.cli import parse

GOOD = ["--api-key", API_KEY, "--admin-key", "a"]


def start(*options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "stripe_sandbox", *options],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (GOOD, "--data-dir"),
        ([*GOOD, "--data-dir", "/proc/none"], "choose a writable --data-dir"),
        (["--data-dir", "x", "--api-key", "sk_live_0123456789", "--admin-key", "a"], "no live key"),
        ([*GOOD, "--data-dir", "x", "--port", "70000"], "is no port"),
        ([*GOOD, "--data-dir", "x", "--port", "eighty"], "invalid int value"),
        ([*GOOD, "--data-dir", "x", "--webhook-url", "http://localhost/"], "needs --webhook-secret"),
        (
            [*GOOD, "--data-dir", "x", "--webhook-event", "charge.failed"],
            "--webhook-event without --webhook-url",
        ),
        (
            [*GOOD, "--data-dir", "x", "--webhook-url", "ftp://x", "--webhook-secret", "whsec_x"],
            "no http(s) URL",
        ),
        ([*GOOD, "--data-dir", "x", "--rate-limit-per-s", "0"], "above 0"),
        ([*GOOD, "--data-dir", "x", "--log-format", "xml"], "invalid choice: 'xml'"),
        (["--data-dir", "x", "--admin-key", "a"], "--api-key-file"),
        ([*GOOD, "--data-dir", "x", "--admin-key-file", "/dev/null"], "not allowed with argument"),
        (["--data-dir", "x", "--api-key", API_KEY, "--admin-key-file", "gone"], "cannot read gone"),
    ],
)
def test_misuse_is_one_line_and_exit_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], hint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said = start(*options)
    assert status == 2
    assert hint in said
    assert said.count("\n") == 1
    assert "sk_live_0123456789" not in said


def test_a_busy_port_and_a_broken_ledger_are_misuse_too(
    tmp_path: Path, new_sandbox: Callable[..., SandboxProcess]
) -> None:
    busy = new_sandbox().port
    status, said = start(*GOOD, "--data-dir", str(tmp_path / "other"), "--port", str(busy))
    assert (status, said.count("\n")) == (2, 1)
    assert "choose another --port" in said
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "ledger.sqlite3").write_bytes(b"no database at all" * 100)
    status, said = start(*GOOD, "--data-dir", str(broken))
    assert (status, said.count("\n")) == (2, 1)
    assert "file is not a database" in said


def test_keys_from_files_work_like_keys_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text(f"{API_KEY}\n")
    (tmp_path / "admin-key").write_text("an admin's key\n")
    options = parse(
        [
            *("--data-dir", "x", "--api-key-file", str(tmp_path / "api-key")),
            *("--admin-key-file", str(tmp_path / "admin-key")),
        ]
    )
    assert (options.api_key, options.admin_key) == (API_KEY, "an admin's key")


def first_log_line(tmp_path: Path, log: int, read_log: int, *options: str) -> str:
    """What a sandbox that starts with `log` as its stderr says there first."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stripe_sandbox", *GOOD, "--data-dir", str(tmp_path / "ledger"), *options],
        stdout=subprocess.DEVNULL,
        stderr=log,
    )
    os.close(log)
    try:
        said = ""
        while "\n" not in said:
            said += os.read(read_log, 4096).decode()
        return said.splitlines()[0]
    finally:
        process.terminate()
        process.wait(20)
        os.close(read_log)


def test_on_a_terminal_the_log_is_for_people_and_else_for_machines(tmp_path: Path) -> None:
    terminal, theirs = pty.openpty()
    line = first_log_line(tmp_path, theirs, terminal)
    assert "sandbox.started" in line
    assert not line.startswith("{")
    read, write = os.pipe()
    assert json.loads(first_log_line(tmp_path, write, read))["event"] == "sandbox.started"


def test_the_form_of_the_log_can_be_chosen(tmp_path: Path) -> None:
    terminal, theirs = pty.openpty()
    chosen = first_log_line(tmp_path, theirs, terminal, "--log-format", "json")
    assert json.loads(chosen)["event"] == "sandbox.started"
    read, write = os.pipe()
    assert not first_log_line(tmp_path, write, read, "--log-format", "console").startswith("{")
