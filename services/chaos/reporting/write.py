"""Puts a report on disk."""

import json
from dataclasses import dataclass
from pathlib import Path

from chaos.reporting.drawing.picture import WIDE, overview, picture
from chaos.reporting.page.page import page
from chaos.reporting.run_report import RunReport
from chaos.reporting.stretches import stretches


@dataclass(frozen=True, slots=True)
class Written:
    """Where it went."""

    json: Path
    html: Path
    svg: Path


def write_report(report: RunReport, directory: Path) -> Written:
    """`report.json`, `report.html` and `timeline.svg` in a directory, which is made if need be.

    Each replaces the one of before at once or not at all. Raises `OSError`.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = Written(directory / "report.json", directory / "report.html", directory / "timeline.svg")
    _replace(written.json, as_json(report))
    _replace(written.html, page(report))
    _replace(written.svg, picture(report, stretches(report), overview(report), WIDE, alone=True))
    return written


def as_json(report: RunReport) -> str:
    """The document of `run_report`, one line for each of its names: a long run has a long time line."""
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in report.to_json().items()]
    return "{\n" + ",\n".join(members) + "\n}\n"


def _replace(path: Path, content: str) -> None:
    beside = path.with_name(f".{path.name}.new")
    # Half a surrogate pair, which JSON may bring in from a log, has no UTF-8.
    beside.write_text(content, encoding="utf-8", errors="replace")
    beside.replace(path)
