"""The report for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chaos.report import verdict_table
from chaos.reporting.bins import spread
from chaos.reporting.figures import count, seconds
from chaos.reporting.run_report import RunReport, ScenarioResult
from chaos.reporting.stretches import timed

_STATES = {"passed": ("✓", "green"), "failed": ("✗", "bold red"), "skipped": ("–", "yellow")}


def summary(report: RunReport) -> RenderableType:
    """Every scenario on a line, the run's figures, what is wrong, and the judge's last verdict."""
    parts: list[RenderableType] = [_scenarios(report), Text(), _figures(report)]
    parts += [Text(f"finding of the workload: {finding}", "bold red") for finding in report.findings]
    if report.interrupted:
        parts.append(
            Text("interrupted: not every scenario was played to its end, so the run does not hold", "yellow")
        )
    return Group(*parts, Text(), verdict_table(report.final))


def _scenarios(report: RunReport) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", expand=True)
    table.add_column("")
    table.add_column("scenario", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("seen", ratio=1)
    for scenario in report.scenarios:
        sign, style = _STATES[scenario.state]
        time = seconds(scenario.duration_s) if scenario.state != "skipped" else ""
        table.add_row(Text(sign, style), Text(scenario.name, style), time, _seen(scenario))
    return table


def _seen(scenario: ScenarioResult) -> Text:
    if scenario.state != "passed":
        return Text(scenario.reason, _STATES[scenario.state][1])
    last = scenario.observations[-1] if scenario.observations else None
    return Text(f"{last.expected}: {last.seen}" if last is not None else "")


def _figures(report: RunReport) -> Text:
    settled = sum(bucket.settled for bucket in report.timeline.charges)
    faults = sum(len(scenario.faults) for scenario in report.scenarios)
    told = (
        f"{report.count('passed')} passed, {report.count('failed')} failed, {report.count('skipped')} skipped"
        f" in {seconds(report.duration_s)}; {count(faults, 'fault')}, {count(settled, 'charge')} settled"
    )
    text = Text(told)
    if (found := spread(timed(report))) is not None:
        text.append(
            f"\n{count(found.count, 'take-over')}: {seconds(found.median_s)} to the first charge"
            f" (median; from {seconds(found.min_s)} to {seconds(found.max_s)})"
        )
    return text.append(f"\nrepeat it: {report.command}", "dim")
