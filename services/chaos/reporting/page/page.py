"""The skeleton of the page: first the answer, then how it came about."""

from collections.abc import Sequence

from chaos.reporting.bins import spread
from chaos.reporting.drawing.picture import hatch, overview
from chaos.reporting.figures import count, instant, seconds
from chaos.reporting.markup import Markup, element, join, text
from chaos.reporting.page.particulars import findings_section, particulars_section
from chaos.reporting.page.scenarios import pictures, scenarios_section
from chaos.reporting.page.style import STYLE
from chaos.reporting.page.takeovers import takeovers_section
from chaos.reporting.page.verdict import chips, counted, invariants
from chaos.reporting.run_report import RunReport
from chaos.reporting.stretches import stretches, timed


def page(report: RunReport) -> str:
    """The whole document. It loads nothing, and runs nothing."""
    silent = stretches(report)
    sections = [
        ("timeline", "Time line", pictures(report, silent, overview(report))),
        ("takeovers", "Take-overs", takeovers_section(report)),
        (
            "verdict",
            "Verdict",
            join(counted(report.final), invariants(report.final, "the judge's verdict on the whole run")),
        ),
        ("scenarios", "Scenarios", scenarios_section(report, silent)),
        ("particulars", "Particulars", particulars_section(report)),
    ]
    if report.findings:
        sections.insert(0, ("findings", "What the workload found wrong", findings_section(report)))
    body = element(
        "body",
        element("svg", hatch(), class_="patterns", aria_hidden="true", focusable="false"),
        _header(report, sections),
        element("main", *(_section(*section) for section in sections)),
    )
    return f"<!DOCTYPE html>\n{element('html', _head(report), body, lang='en')}\n"


def _head(report: RunReport) -> Markup:
    title = f"{'Holds' if report.holds else 'DOES NOT HOLD'}: {report.command}"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        # Nothing may be fetched or run, whatever got into a name.
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'",
        ),
        element("title", text(title)),
        # Our own style sheet, not anybody's input: HTML reads it as it stands.
        element("style", Markup(STYLE)),
    )


def _header(report: RunReport, sections: Sequence[tuple[str, str, Markup]]) -> Markup:
    links = [element("a", text(title), href=f"#{name}") for name, title, _ in sections]
    return element(
        "header",
        element("p", text("Middleman · chaos report"), class_="kicker"),
        element("h1", text(_answer(report)), class_="good" if report.holds else "bad"),
        chips(report.final),
        element("p", text("repeat it: "), element("code", text(report.command)), class_="command"),
        element("p", text(_origin(report)), class_="origin"),
        _tiles(report),
        element("nav", *links, aria_label="parts of this report"),
    )


def _answer(report: RunReport) -> str:
    if report.holds:
        return "✓ The verdict holds"
    reasons = []
    if not report.final.holds:
        broken = [result.name for result in report.final.invariants if not result.holds]
        reasons.append(f"{', '.join(broken)} broken" if broken else "the final verdict is no")
    if failed := report.count("failed"):
        reasons.append(f"{count(failed, 'scenario')} failed")
    if report.findings:
        reasons.append(f"{count(len(report.findings), 'finding')} of the workload")
    if report.interrupted:
        reasons.append("the run was interrupted")
    if not report.count("passed"):
        reasons.append("no scenario passed")
    return f"✗ Does not hold: {', '.join(reasons)}"


def _origin(report: RunReport) -> str:
    machine = f" on {report.machine['cores']} cores" if report.machine.get("cores") else ""
    commit = f", commit {report.commit}" if report.commit else ""
    return f"seed {report.seed}, target {report.target}{machine}{commit}, {instant(report.began_at)}"


def _tiles(report: RunReport) -> Markup:
    settled = sum(bucket.settled for bucket in report.timeline.charges)
    found = spread(timed(report))
    skipped = report.count("skipped")
    played = len(report.scenarios) - skipped
    tiles = [
        (
            f"{report.count('passed')}/{played}",
            f"scenarios passed{f', {skipped} skipped' if skipped else ''}",
        ),
        (f"{sum(len(scenario.faults) for scenario in report.scenarios):,}", "faults"),
        (f"{settled:,}", "charges settled"),
        (f"{len(report.timeline.terms):,}", "terms"),
        (seconds(found.median_s) if found is not None else "–", "median take-over"),
        (seconds(report.duration_s), "duration"),
    ]
    items = [element("div", element("dt", text(label)), element("dd", text(value))) for value, label in tiles]
    return element("dl", *items, class_="tiles")


def _section(name: str, title: str, content: Markup) -> Markup:
    return element("section", element("h2", text(title)), content, id=name)
