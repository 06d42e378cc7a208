"""How long nobody charged: a histogram, figures for each kind of fault, and every single take-over."""

from collections.abc import Mapping, Sequence

from chaos.drive.record import Fault
from chaos.failover.spread import Spread
from chaos.reporting.bins import Bin, bins, by_kind, charged, spread
from chaos.reporting.drawing.faults import name
from chaos.reporting.figures import count, moment, seconds
from chaos.reporting.markup import Markup, element, join, text
from chaos.reporting.page.table import Row, table
from chaos.reporting.run_report import RunReport
from chaos.reporting.spans import Takeover
from chaos.reporting.stretches import timed

NONE = text("–")


def takeovers_section(report: RunReport) -> Markup:
    """Everything about take-overs."""
    counted = timed(report)
    faults = {fault.number: fault for scenario in report.scenarios for fault in scenario.faults}
    if not counted:
        return element("p", text("No term followed another while the clock ran."))
    return join(
        element("p", text(_explained(report, len(counted)))),
        element(
            "div",
            _histogram(bins(charged(counted))),
            _kinds(counted, faults),
            class_="columns",
        ),
        element(
            "details",
            element("summary", text(f"every take-over ({len(counted):,})")),
            _each(report, counted, faults),
        ),
    )


def _explained(report: RunReport, counted: int) -> str:
    told = (
        "From the beginning of the fault on the leader (or, where none was on it, from its last charge) to the first"
        " charge that its successor settled. Faults that keep everybody from charging count with their length."
    )
    left_out = len(report.timeline.takeovers) - counted
    if left_out:
        told += f" {count(left_out, 'change')} of term while the clock stood still for the judge not counted."
    return told


def _histogram(found: Sequence[Bin]) -> Markup:
    most = max((each.count for each in found), default=0) or 1
    rows = [
        (
            text(each.told),
            element("span", class_="bar", style=f"width:{each.count / most * 100:.1f}%"),
            text(f"{each.count:,}" if each.count else ""),
        )
        for each in found
    ]
    return table(
        "take-overs by their time to the first charge", ("time", "", ">take-overs"), rows, "histogram"
    )


def _kinds(takeovers: Sequence[Takeover], faults: Mapping[int, Fault]) -> Markup:
    columns = ("fault on the leader", ">take-overs", ">min", ">median", ">p99", ">max")
    rows: list[Row] = [
        (text(kind.name), text(f"{kind.takeovers:,}"), *_spread(kind.spread))
        for kind in by_kind(takeovers, faults)
    ]
    total = spread(takeovers)
    rows.append((element("strong", text("all")), text(f"{len(takeovers):,}"), *_spread(total)))
    return table("time to the first charge, by the kind of fault", columns, rows)


def _spread(found: Spread | None) -> Row:
    if found is None:
        return (NONE,) * 4
    return tuple(text(seconds(value)) for value in (found.min_s, found.median_s, found.p99_s, found.max_s))


def _each(report: RunReport, takeovers: Sequence[Takeover], faults: Mapping[int, Fault]) -> Markup:
    columns = ("at", "from", "to", "fault on the leader", ">in office", ">first charge")
    rows = []
    for each in takeovers:
        fault = faults.get(each.fault) if each.fault is not None else None
        first = seconds(each.first_charge_s) if each.first_charge_s is not None else "none"
        rows.append(
            (
                text(moment(each.since, report.timeline.began_at)),
                text(f"{each.victim}, term {each.victim_term}"),
                text(f"{each.successor}, term {each.term}"),
                text(f"{fault.number}. {name(fault)}") if fault is not None else NONE,
                text(seconds(each.in_office_s)),
                text(first),
            )
        )
    return table("every take-over while the clock ran, in order", columns, rows, "takeovers")
