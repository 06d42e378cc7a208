"""docs/chaos.md names every scenario, every wrong that the judge is tried with, and nothing else."""

import re
from pathlib import Path

from chaos.prove.proving import CONTROLS
from chaos.scenarios.catalogue import SCENARIOS

DOCUMENT = (Path(__file__).parents[3] / "docs" / "chaos.md").read_text()


def _first_cells(after: str, before: str) -> set[str]:
    section = DOCUMENT[DOCUMENT.index(after) : DOCUMENT.index(before)]
    cells = re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE)
    return {name.strip() for cell in cells for name in cell.split(",")} - {"scenario", "wrong"}


def test_every_scenario_is_documented_and_no_other() -> None:
    assert _first_cells("## The scenarios", "### The mix") == {scenario.name for scenario in SCENARIOS}


def test_every_control_of_the_judge_is_documented() -> None:
    section = DOCUMENT[DOCUMENT.index("## Proving the judge") : DOCUMENT.index("## What is not covered")]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == [control.name for control in CONTROLS]
