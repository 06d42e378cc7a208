"""The report on disk and in the terminal."""

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.support.run_reports import run_report

from chaos.reporting import __main__ as again
from chaos.reporting.from_json import UnreadableReportError
from chaos.reporting.from_json import run_report as from_json
from chaos.reporting.run_report import RunReport
from chaos.reporting.summary import summary
from chaos.reporting.write import as_json, write_report


def told(report: RunReport, width: int = 120) -> str:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(summary(report))
    return out.getvalue()


@pytest.mark.parametrize("broken", ["", "I3"])
def test_what_is_written_as_json_is_read_back_as_it_was(broken: str) -> None:
    report = run_report(6, broken=broken)
    values = json.loads(as_json(report))
    back = from_json(values)
    assert json.loads(as_json(back)) == values
    assert back.holds is report.holds is (not broken and not report.count("failed"))
    assert back.scenarios == report.scenarios
    assert back.timeline.terms == report.timeline.terms


def test_json_has_what_a_machine_asks_first() -> None:
    values = json.loads(as_json(run_report(3)))
    assert (values["schema"], values["holds"], values["interrupted"], values["seed"]) == (1, True, False, 1)
    assert [scenario["state"] for scenario in values["scenarios"]] == [
        "passed",
        "passed",
        "skipped",
        "passed",
    ]
    offset_s, term, succeeded, others = values["timeline"]["charges"][0]
    assert (term, succeeded + others > 0, 0 <= offset_s < 1) == (1, True, True)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [({"schema": 99}, "schema 99"), ({"final": {}}, "KeyError"), ({"began_at": "noon"}, "ValueError")],
)
def test_what_is_no_report_is_refused_with_the_reason(change: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UnreadableReportError, match=complaint):
        from_json(run_report(1).to_json() | change)


def test_a_finding_or_a_failed_scenario_is_enough_not_to_hold() -> None:
    report = run_report(3)
    assert report.holds
    assert not replace(report, findings=("a customer is there twice",)).holds
    assert not replace(report, scenarios=(replace(report.scenarios[0], state="failed"),)).holds


def test_three_files_are_written_and_replaced(tmp_path: Path) -> None:
    write_report(run_report(1), tmp_path / "report")
    written = write_report(run_report(3), tmp_path / "report")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == [
        "report.html",
        "report.json",
        "timeline.svg",
    ]
    assert len(json.loads(written.json.read_text())["scenarios"]) == 4
    assert written.html.read_text().startswith("<!DOCTYPE html>")
    assert written.svg.read_text().startswith("<svg ")


def test_half_a_character_from_a_log_does_not_lose_the_report(tmp_path: Path) -> None:
    written = write_report(run_report(1, name="\udc80"), tmp_path)
    assert "\udc80" in json.loads(written.json.read_text())["commit"]
    assert "kill-leader" in written.html.read_text(encoding="utf-8")


def test_page_and_time_line_are_made_anew_from_the_json(tmp_path: Path) -> None:
    first = write_report(run_report(3), tmp_path / "first")
    assert again.main([str(first.json), str(tmp_path / "second")]) == 0
    assert (tmp_path / "second" / "report.html").read_text() == first.html.read_text()
    assert (tmp_path / "second" / "timeline.svg").read_text() == first.svg.read_text()


def test_what_cannot_be_read_is_misuse_told_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text("{}")
    for arguments in (
        [],
        [str(tmp_path / "none"), "x"],
        [str(tmp_path / "report.json"), str(tmp_path / "x")],
    ):
        assert again.main(arguments) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_the_terminal_shows_every_scenario_the_figures_and_the_verdict() -> None:
    shown = told(run_report(6, broken="I3"))
    for expected in (
        "kill-leader",
        "this target cannot do what it needs: data",
        "a successor charges: term 7 leads",
        "5 passed, 1 failed, 1 skipped",
        "finding of the workload: customer c-3 is there twice",
        "repeat it: middleman chaos run --scenario all --seed 1",
        "THE VERDICT DOES NOT HOLD",
    ):
        assert expected in shown


def test_the_terminal_takes_names_for_text_and_not_for_markup() -> None:
    assert "[bold]x[/nothing]" in told(run_report(1, name="[bold]x[/nothing]"), width=300)
