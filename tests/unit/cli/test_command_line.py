"""The command line: help, and misuse that is one line and exit status 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from middleman.entrypoints.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("bogus",), "No such command 'bogus'"),
        (("demo", "--bogus"), "--bogus"),
        (("demo", "--duration-s", "soon"), "--duration-s"),
        (("demo", "--duration-s", "0"), "duration-s=0: must be from 1 to 86400"),
        (("demo", "--subscribers", "0"), "subscribers=0"),
        (("demo", "--kill-leader-every-s", "-1"), "kill-leader-every-s=-1"),
        (("demo", "--replicas", "10"), "replicas=10: must be from 1 to 9"),
        (("demo", "--json", "/nowhere/at/all.json"), "cannot write /nowhere/at/all.json"),
        (("up", "--replicas", "0"), "replicas=0"),
        (("judge",), "no cluster runs below .middleman"),
        (("judge", "--data-dir", "nowhere"), "no cluster is running on nowhere"),
        (("judge", "--database-url", "postgresql://x"), "belong together"),
        (
            ("judge", "--data-dir", ".", "--database-url", "a", "--ledger-url", "b", "--admin-key", "c"),
            "either --data-dir or",
        ),
        (
            (
                *("judge", "--database-url", "postgresql://x:y@127.0.0.1:1/middleman"),
                *("--ledger-url", "http://127.0.0.1:1", "--admin-key", "c"),
            ),
            "cannot reach the database",
        ),
        (("api-key", "create"), "--name"),
        (("api-key", "create", "--name", " "), "--name is empty"),
        (("api-key", "list"), "no cluster runs below .middleman"),
        (("api-key", "revoke"), "key_id"),
        (("parked", "list"), "no cluster runs below .middleman"),
        (("parked", "retry"), "name the attempts to try again, or give --all"),
        (("parked", "retry", "at_1_0_1", "--all"), "name the attempts to try again, or give --all"),
    ],
)
def test_misuse_is_one_line_and_status_2(
    arguments: tuple[str, ...],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MIDDLEMAN_DATABASE_URL", "MIDDLEMAN_JUDGE_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    status, out, err = run(capsys, *arguments)
    assert status == 2
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("middleman: ")
    assert told in err


def test_without_arguments_it_shows_its_help_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys)
    assert status == 2
    assert "demo" in out + err
    assert len((out + err).splitlines()) > 5


@pytest.mark.parametrize("command", [(), ("demo",), ("judge",), ("up",), ("replica",), ("api-key", "create")])
def test_every_command_explains_itself(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, *command, "--help")
    assert status == 0
    assert "Usage: " in out


def test_a_process_that_is_misconfigured_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MIDDLEMAN_DATABASE_URL", raising=False)
    status, out, err = run(capsys, "migrate")
    assert (status, out) == (2, "")
    assert "MIDDLEMAN_DATABASE_URL is not set" in err


def test_help_imports_neither_servers_nor_frameworks() -> None:
    """What keeps `middleman --help` fast."""
    heavy = ("fastapi", "sqlalchemy", "grpc", "stripe", "httpx", "asyncpg", "rich.live", "cluster")
    script = f"""
import sys
from middleman.entrypoints.cli import main
try:
    main(["--help"])
except SystemExit:
    print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("command", "kept"), [("demo", False), ("chaos", False), ("up", False), ("api-key", True)]
)
def test_a_cluster_on_this_machine_is_reached_without_libpqs_settings(
    command: str, kept: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGSSLMODE", "PGTARGETSESSIONATTRS", "PGPASSFILE", "PGHOST"):
        monkeypatch.setenv(name, "require")
    run(capsys, command, "--help")
    assert ("PGSSLMODE" in os.environ, "PGTARGETSESSIONATTRS" in os.environ) == (kept, kept)
