"""A run holds only if all that was asked for was played: what was skipped or cut short proves nothing."""

from dataclasses import replace

import pytest
from tests.support.run_reports import run_report

from chaos.reporting.run_report import ScenarioResult
from chaos.run.plan import Plan
from chaos.run.runner import as_asked, cut_short

PASSED, *_ = run_report(1).scenarios
SKIPPED = replace(PASSED, state="skipped", reason="this target cannot do what it needs: data")
FAILED = replace(PASSED, state="failed", reason="interrupted")


def test_an_interrupted_run_does_not_hold() -> None:
    report = replace(run_report(1), scenarios=(PASSED,))
    assert report.holds
    assert not replace(report, interrupted=True).holds


@pytest.mark.parametrize("scenarios", [(), (SKIPPED,), (SKIPPED, SKIPPED)])
def test_a_run_in_which_nothing_passed_does_not_hold(scenarios: tuple[ScenarioResult, ...]) -> None:
    report = run_report(1)
    assert not replace(report, scenarios=scenarios).holds
    assert replace(report, scenarios=(*scenarios, PASSED)).holds


def test_who_asks_for_a_scenario_by_name_is_not_content_with_the_reason_why_it_was_skipped() -> None:
    named = as_asked(Plan(scenario="kill-leader,postgres-fill-log-disk"), SKIPPED)
    assert named.state == "failed"
    assert named.reason == "skipped, though it was asked for by name: " + SKIPPED.reason


@pytest.mark.parametrize("scenario", ["all", "random"])
def test_of_all_scenarios_some_may_be_skipped_with_their_reason(scenario: str) -> None:
    assert as_asked(Plan(scenario=scenario), SKIPPED) == SKIPPED


def test_what_was_played_stays_as_it_is() -> None:
    plan = Plan(scenario="kill-leader")
    assert [as_asked(plan, each) for each in (PASSED, FAILED)] == [PASSED, FAILED]


def test_a_stop_cuts_short_what_was_not_played_to_its_end() -> None:
    assert cut_short([PASSED], 2)
    assert cut_short([PASSED, FAILED], 2)
    assert not cut_short([PASSED, PASSED], 2), "it came when everything was played"
