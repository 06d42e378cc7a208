"""What a command prints reaches its reader whatever the encoding of the output is."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from middleman.entrypoints.cli.output import write_plainly_where_needed

SOURCES = Path(__file__).resolve().parents[3] / "services"
ROOT = SOURCES.parent
PRINTS_A_VERDICT = """
from rich.console import Console
from chaos.judge.judging import judge_snapshot
from chaos.report import verdict_table
from middleman.entrypoints.cli.output import write_plainly_where_needed
from tests.support.doctored import books, ledger
write_plainly_where_needed()
Console(width=200).print(verdict_table(judge_snapshot(ledger(), books())))
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "ascii:strict", "utf-8"])
def test_a_verdict_is_printed_in_any_encoding(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PRINTS_A_VERDICT],
        env={"PYTHONPATH": f"{SOURCES}:{ROOT}", "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": encoding},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    told = done.stdout.decode(encoding.partition(":")[0])
    assert "the verdict holds" in told
    assert "I1" in told
    assert "?" not in told


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("✓ I1 · 3 … 4", "+ I1 - 3 ... 4"),
        ("┏━┓│─└", "+-+|-+"),
        ("█▁ ▶", "## >"),
        ("名前", "??"),
        ("plain", "plain"),
    ],
)
def test_characters_that_the_encoding_has_not_become_plain_ones(text: str, plain: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    write_plainly_where_needed([stream])
    stream.write(text)
    stream.flush()
    assert raw.getvalue().decode() == plain


def test_utf_8_keeps_its_characters() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    write_plainly_where_needed([stream])
    stream.write("✓ 名前 …")
    stream.flush()
    assert raw.getvalue().decode() == "✓ 名前 …"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["demo", "--help"], ["judge"], ["chaos", "run", "--help"], ["bogus…"]]
)
def test_every_command_speaks_in_ascii(arguments: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "middleman.entrypoints.cli", *arguments],
        env={"PYTHONPATH": str(SOURCES), "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": "ascii:strict"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, 2), done.stderr
    assert "Traceback" not in done.stderr
