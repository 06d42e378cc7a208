"""Whoever types what a document says gets no "no such command"."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from middleman.entrypoints.cli import app

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "loadtest/README.md"]
_COMMANDS: dict[str, Any] = getattr(typer.main.get_command(app), "commands")  # noqa: B009 -- a group's; typed as a command
_TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def _typed(document: Path) -> str:
    """What stands in code: blocks and spans."""
    text = document.read_text()
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL))


def _called(document: Path) -> list[list[str]]:
    """Every call of `middleman`, as its words."""
    calls = re.findall(r"(?:\.venv/bin/|`)middleman ([a-z][^`\n|#]*)", _typed(document))
    return [call.split() for call in calls]


def _options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts} | {"--help"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_and_option_of_middleman_exists(document: Path) -> None:
    unknown = []
    for words in _called(document):
        command = _COMMANDS.get(words[0])
        if command is not None and hasattr(command, "commands") and len(words) > 1:
            command = command.commands.get(words[1].rstrip(","))
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        if command is None or not options <= _options(command):
            unknown.append(" ".join(words))
    assert unknown == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_target_of_make_exists(document: Path) -> None:
    called = set(re.findall(r"(?:^|`)make ([a-z-]+)", _typed(document), re.MULTILINE))
    assert called <= _TARGETS


def test_calls_are_found_at_all() -> None:
    assert ["judge"] in _called(ROOT / "README.md")
    assert any(words[:2] == ["bench", "billing"] for words in _called(ROOT / "README.md"))
