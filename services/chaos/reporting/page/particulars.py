"""What else is needed to repeat a run and to read its report."""

import json
from collections.abc import Sequence
from typing import Any

from chaos.reporting.figures import instant, seconds
from chaos.reporting.markup import Markup, element, join, text
from chaos.reporting.page.table import pairs, table
from chaos.reporting.run_report import RunReport

MAX_STRIKES = 2_000


def particulars_section(report: RunReport) -> Markup:
    """The run, its workload, its machine, and the schedule of the mix."""
    run = [
        ("command", report.command),
        ("seed", report.seed),
        ("target", report.target),
        ("commit", report.commit or "unknown"),
        ("began", instant(report.began_at)),
        ("ended", instant(report.ended_at)),
        ("took", seconds(report.duration_s)),
    ]
    return join(
        element(
            "div",
            pairs("the run", run),
            pairs("the machine", report.machine.items()),
            pairs("the workload", [(_words(name), f"{value:,}") for name, value in report.workload.items()]),
            class_="columns",
        ),
        _schedule(report.schedule) if report.schedule else join(),
    )


def findings_section(report: RunReport) -> Markup:
    """What the workload found wrong."""
    return element("ul", *(element("li", text(finding)) for finding in report.findings), class_="bad")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _schedule(strikes: Sequence[Any]) -> Markup:
    """Every strike that the mix drew; each that is a mapping gets a column for each of its names."""
    shown = [strike if isinstance(strike, dict) else {"strike": strike} for strike in strikes[:MAX_STRIKES]]
    columns = list(dict.fromkeys(key for strike in shown for key in strike))
    rows = [[text(_value(strike.get(column, ""))) for column in columns] for strike in shown]
    caption = "the faults that the mix drew from its seed, before it began"
    if len(strikes) > MAX_STRIKES:
        caption += f" (the first {MAX_STRIKES:,} of {len(strikes):,}; all are in report.json)"
    return element(
        "details",
        element("summary", text(f"schedule of the random mix ({len(strikes):,})")),
        table(caption, [_words(column) for column in columns], rows),
    )


def _value(value: Any) -> str:
    match value:
        case str():
            return value
        case dict():
            return ", ".join(f"{key}={_value(each)}" for key, each in value.items())
        case list() | tuple():
            return ", ".join(map(_value, value))
        case _:
            return json.dumps(value, default=str)
