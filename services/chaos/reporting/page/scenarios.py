"""What was played: a table, and behind each row its time line, observations and faults."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby

from chaos.drive.record import Fault, Observation
from chaos.reporting.drawing.picture import NARROW, WIDE, Subject, close_up, picture
from chaos.reporting.figures import count, moment, seconds
from chaos.reporting.markup import Markup, element, join, text
from chaos.reporting.page.table import table
from chaos.reporting.page.verdict import invariants, mark, tone
from chaos.reporting.run_report import RunReport, ScenarioResult
from chaos.reporting.stretches import Stretch

COLUMNS = ("", "scenario", "seen", "faults", "time", "verdict")
STATES = {"passed": ("✓", "good"), "failed": ("✗", "bad"), "skipped": ("–", "mute")}
STRIP_S = 60.0
STRIP_FROM_S = 90.0
MAX_STRIPS = 60

Numbered = tuple[int, ScenarioResult]


def scenarios_section(report: RunReport, stretches: Sequence[Stretch]) -> Markup:
    """One table, a body per group."""
    numbered = list(enumerate(report.scenarios, start=1))
    bodies = [
        _group(report, stretches, group, list(members))
        for group, members in groupby(numbered, key=lambda each: each[1].group)
    ]
    head = element("thead", element("tr", *(element("th", text(column), scope="col") for column in COLUMNS)))
    caption = element("caption", text("scenarios in the order in which they were played; each row unfolds"))
    return element("table", caption, head, *bodies, class_="scenarios")


def pictures(report: RunReport, stretches: Sequence[Stretch], subject: Subject) -> Markup:
    """The same picture twice: the style sheet shows the one that suits the page's width."""
    wide, narrow = (
        element("div", picture(report, stretches, subject, width), class_=class_)
        for width, class_ in ((WIDE, "wide"), (NARROW, "narrow"))
    )
    return element("figure", wide, narrow)


def _group(
    report: RunReport, stretches: Sequence[Stretch], group: str, members: Sequence[Numbered]
) -> Markup:
    heading = element("th", text(group), scope="rowgroup", colspan=len(COLUMNS))
    rows = [row for member in members for row in _rows(report, stretches, *member)]
    return element("tbody", element("tr", heading, class_="group"), *rows)


def _rows(
    report: RunReport, stretches: Sequence[Stretch], number: int, scenario: ScenarioResult
) -> Iterable[Markup]:
    sign, colour = STATES[scenario.state]
    name = join(
        element("strong", text(f"{number}. {scenario.name}")),
        element("span", text(scenario.shows), class_="shows"),
    )
    verdict = scenario.verdict
    told = (
        element(
            "span",
            text(f"{mark(verdict.holds)} {'holds' if verdict.holds else 'does not hold'}"),
            class_=tone(verdict.holds),
        )
        if verdict is not None
        else text("–")
    )
    cells = (
        element("span", text(f"{sign} {scenario.state}"), class_=colour),
        name,
        _seen(scenario),
        text(f"{len(scenario.faults):,}"),
        text(seconds(scenario.duration_s)),
        told,
    )
    yield element(
        "tr",
        *(
            element("td", cell, data_column=column or None)
            for column, cell in zip(COLUMNS, cells, strict=True)
        ),
        id=f"s{number}",
        class_=f"scenario-row {scenario.state}",
    )
    if scenario.state != "skipped":
        yield element(
            "tr", element("td", _more(report, stretches, scenario), colspan=len(COLUMNS)), class_="more"
        )


def _seen(scenario: ScenarioResult) -> Markup:
    """Why it failed or was skipped; else how many observations were made, and the last."""
    if scenario.state != "passed":
        return element("span", text(scenario.reason), class_="reason")
    made = sum(observation.made for observation in scenario.observations)
    last = scenario.observations[-1] if scenario.observations else None
    told = (
        f"{made} of {len(scenario.observations)}: {last.expected} ({last.seen})"
        if last is not None
        else "nothing"
    )
    return text(told)


def _more(report: RunReport, stretches: Sequence[Stretch], scenario: ScenarioResult) -> Markup:
    parts = [pictures(report, stretches, subject) for subject in _subjects(report, scenario)]
    if scenario.observations:
        parts.append(_observations(report, scenario.observations))
    if scenario.faults:
        parts.append(_faults(report, scenario.faults))
    if scenario.verdict is not None and not scenario.verdict.holds:
        parts.append(invariants(scenario.verdict, "the judge's verdict after this scenario"))
    told = (
        f"time line, {count(len(scenario.observations), 'observation')}, {count(len(scenario.faults), 'fault')};"
        f" at rest after {seconds(scenario.rested_s)}"
    )
    return element("details", element("summary", text(told)), *parts, open=scenario.state == "failed")


def _subjects(report: RunReport, scenario: ScenarioResult) -> list[Subject]:
    """One close-up, or strips of a minute where it would show too little."""
    whole = close_up(report, scenario)
    length_s = (whole.to_at - whole.from_at).total_seconds()
    if length_s <= 0:
        return []
    if length_s <= STRIP_FROM_S:
        return [whole]
    strip = timedelta(seconds=max(STRIP_S, length_s / MAX_STRIPS))
    strips: list[Subject] = []
    from_at = whole.from_at
    while from_at < whole.to_at:
        to_at = min(from_at + strip, whole.to_at)
        strips.append(
            Subject(
                f"time line of {scenario.name}, part {len(strips) + 1}",
                *(from_at, to_at, report.timeline.began_at, "the beginning of the run"),
                by_clock=True,
            )
        )
        from_at = to_at
    return strips


def _observations(report: RunReport, observations: Sequence[Observation]) -> Markup:
    rows = [
        (
            text(moment(each.at, report.timeline.began_at)),
            element("span", text(f"{mark(each.made)} {each.expected}"), class_=None if each.made else "bad"),
            text(each.seen),
            text(", ".join(map(str, each.faults))),
        )
        for each in observations
    ]
    return table("observations", ("at", "expected", "seen", "of faults"), rows, "observations")


def _faults(report: RunReport, faults: Sequence[Fault]) -> Markup:
    rows = [
        (
            text(f"{fault.number}"),
            text(moment(fault.began_at, report.timeline.began_at)),
            text(fault.kind),
            text(fault.whom),
            text(
                seconds((fault.ended_at - fault.began_at).total_seconds())
                if fault.ended_at is not None
                else "–"
            ),
            element("code", text(", ".join(f"{key}={value}" for key, value in fault.settings.items()))),
        )
        for fault in faults
    ]
    return table("faults", ("number", "at", "kind", "whom", ">lasted", "settings"), rows, "faults")
