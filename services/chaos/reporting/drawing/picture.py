"""All bands one below the other, with grid, axis and legend: one SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaos.reporting.drawing.charges import charges_band
from chaos.reporting.drawing.faults import faults_band
from chaos.reporting.drawing.frame import Band, Frame, axis, grid
from chaos.reporting.drawing.lanes import lanes_band
from chaos.reporting.drawing.legend import legend_band
from chaos.reporting.drawing.strip import scenarios_band, shadows, stretches_band
from chaos.reporting.drawing.style import SHAPES, THEMES
from chaos.reporting.figures import count, seconds
from chaos.reporting.markup import Markup, element, join, shape, text
from chaos.reporting.run_report import RunReport, ScenarioResult
from chaos.reporting.stretches import Kind, Stretch

WIDE, NARROW = 1120.0, 360.0
BY_CLOCK_FROM_S = 100.0
TOP = 6.0
_TITLE_SIZE = 15.0
_TITLE_ADVANCE = 0.63  # a character's mean width in a bold face, in parts of its size


@dataclass(frozen=True, slots=True)
class Subject:
    """What a picture is of: a window of a run. Ticks count from `origin`, which is called `counted_from`."""

    title: str
    from_at: datetime
    to_at: datetime
    origin: datetime
    counted_from: str
    chart_height: float = 96.0
    fault_rows: int = 8
    min_column: float = 8.0
    overview: bool = False
    by_clock: bool = False


def overview(report: RunReport) -> Subject:
    """The whole run."""
    line = report.timeline
    return Subject(
        "time line of the whole run",
        *(line.began_at, line.ended_at, line.began_at, "the beginning of the run"),
        chart_height=130.0,
        fault_rows=6,
        min_column=2.0,
        overview=True,
    )


def close_up(report: RunReport, scenario: ScenarioResult, margin_s: float = 2.0) -> Subject:
    """One scenario and a little around it, counted from its first fault."""
    margin = timedelta(seconds=margin_s)
    first = min((fault.began_at for fault in scenario.faults), default=None)
    return Subject(
        f"time line of {scenario.name}",
        max(scenario.began_at - margin, report.timeline.began_at),
        min(scenario.ended_at + margin, report.timeline.ended_at),
        first or scenario.began_at,
        "the first fault" if first is not None else "the beginning of the scenario",
    )


def picture(
    report: RunReport, stretches: Sequence[Stretch], subject: Subject, width: float, *, alone: bool = False
) -> Markup:
    """The SVG, `width` user units wide. `alone`: a file of its own, with title, colours and background."""
    left = 92.0 if width > 2 * NARROW else 72.0
    duration_s = (subject.to_at - subject.from_at).total_seconds()
    frame = Frame(
        *(subject.from_at, subject.to_at, subject.origin, width, left),
        by_clock=subject.by_clock or duration_s >= BY_CLOCK_FROM_S,
        counted_from=subject.counted_from,
    )
    y = TOP
    title = join()
    if alone:
        y, title = 42.0, _title(report, frame)
    bands: list[Markup] = []

    def stack(band: Band) -> None:
        nonlocal y
        bands.append(band.drawn)
        y += band.height

    top = y
    if subject.overview:
        stack(scenarios_band(frame, y, report.scenarios, linked=not alone))
    shade_from = y
    stack(lanes_band(frame, y, report.timeline))
    y += 4
    faults = [fault for scenario in report.scenarios for fault in scenario.faults]
    stack(faults_band(frame, y, faults, report.timeline.began_at, subject.fault_rows))
    stack(stretches_band(frame, y, stretches))
    min_column = subject.min_column * (0.5 if width <= NARROW else 1)
    stack(charges_band(frame, y, report.timeline, subject.chart_height, min_column))
    behind = join(grid(frame, top, y), shadows(frame, shade_from, y, stretches))
    stack(axis(frame, y))
    if subject.overview:
        stack(legend_band(frame, y, report.timeline))
    drawn = join(hatch() if alone else join(), title, behind, *bands)
    return _svg(drawn, subject.title, _described(report, stretches, subject), width, y + 4, alone=alone)


def _svg(drawn: Markup, title: str, described: str, width: float, height: float, *, alone: bool) -> Markup:
    head = [element("title", text(title)), element("desc", text(described))]
    if alone:
        background = shape("rect", width=width, height=height, style="fill:var(--page)")
        # Our own style sheet, not anybody's input: XML reads text in it as text, and it has nothing to escape.
        head += [element("style", Markup(THEMES + SHAPES)), background]
    return element(
        "svg",
        *head,
        drawn,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:.0f}",
        width=f"{width:g}" if alone else None,
        height=f"{height:.0f}" if alone else None,
        role="img",
        class_="picture",
    )


def hatch() -> Markup:
    """The pattern of stretches without a charge; a page that shows several pictures holds it once."""
    line = shape("path", d="M0 6L6 0", class_="hatch-line")
    pattern = element("pattern", line, id="hatch", width=6, height=6, patternUnits="userSpaceOnUse")
    return element("defs", pattern)


def _title(report: RunReport, frame: Frame) -> Markup:
    verdict = "The verdict holds" if report.holds else "THE VERDICT DOES NOT HOLD"
    terms = count(len(report.timeline.terms), "term")
    told = f"{verdict}: {seconds(report.duration_s)}, {terms} \u00b7 {report.command}"
    size = min(_TITLE_SIZE, (frame.right - frame.left) / (len(told) * _TITLE_ADVANCE))
    return element("text", text(told), x=frame.left, y=24, class_="title", style=f"font-size:{size:.1f}px")


def _described(report: RunReport, stretches: Sequence[Stretch], subject: Subject) -> str:
    """The picture in words, for those who do not see it."""
    line = report.timeline
    terms = sum(
        term.started_at < subject.to_at and (term.ended_at or line.ended_at) > subject.from_at
        for term in line.terms
    )
    faults = sum(
        subject.from_at <= fault.began_at < subject.to_at
        for scenario in report.scenarios
        for fault in scenario.faults
    )
    settled = sum(
        bucket.settled for bucket in line.charges if subject.from_at <= bucket.starts_at < subject.to_at
    )
    inside = [
        each
        for each in stretches
        if each.kind is not Kind.REST and each.from_at < subject.to_at and each.to_at > subject.from_at
    ]
    longest = max((each.length_s for each in inside), default=0.0)
    return (
        f"{seconds((subject.to_at - subject.from_at).total_seconds())}: {count(terms, 'term')},"
        f" {count(faults, 'fault')}, {count(settled, 'charge')} settled;"
        f" {count(len(inside), 'stretch').replace('stretchs', 'stretches')} without a charge,"
        f" the longest of {seconds(longest)}."
    )
