"""The judge's answer: every invariant with its counts."""

from chaos.judge.verdict import Finding, InvariantResult, Verdict
from chaos.reporting.figures import count
from chaos.reporting.markup import Markup, element, join, text
from chaos.reporting.page.table import table


def invariants(verdict: Verdict, caption: str) -> Markup:
    """A table of all, and what was found wrong with each that does not hold."""
    columns = ("", "invariant", ">checked", ">violations", ">in flight")
    rows = [
        (
            element(
                "span",
                text(_mark(result)),
                text(" "),
                text(result.name),
                class_=f"sign {_tone(result)}",
            ),
            text(result.title + (f" ({result.note})" if result.note else "")),
            text(f"{result.checked:,}"),
            text(f"{result.total_violations:,}"),
            text(f"{result.total_pending:,}"),
        )
        for result in verdict.invariants
    ]
    broken = [_violations(result) for result in verdict.invariants if not result.holds]
    return join(table(caption, columns, rows, "invariants"), *broken)


def chips(verdict: Verdict) -> Markup:
    """Each invariant as one mark."""
    marks = [
        element(
            "li",
            text(f"{_mark(result)} {result.name}"),
            class_=f"chip {_tone(result)}",
            title=f"{result.title}: {_told(result)}",
        )
        for result in verdict.invariants
    ]
    return element("ul", *marks, class_="chips")


def counted(verdict: Verdict) -> Markup:
    """What the judge counted, in a sentence each."""
    counts = verdict.counts
    invoices = ", ".join(f"{number:,} {status}" for status, number in counts.get("invoices", {}).items())
    told = [
        f"{counts.get('periods_due', 0):,} billing periods of {counts.get('subscriptions', 0):,} subscriptions fell"
        f" due by the clock; invoices in the books: {invoices or 'none'}.",
        f"{counts.get('charges_succeeded', 0):,} charges succeeded in the processor's ledger,"
        f" {counts.get('charges_failed', 0):,} were declined; {count(counts.get('terms', 0), 'term')} of"
        f" {counts.get('leaders', 0):,} leaders. The system was {'' if verdict.at_rest else 'not '}at rest.",
    ]
    return join(*(element("p", text(each)) for each in told))


def mark(holds: bool) -> str:
    """A sign, so that nothing is told by colour alone."""
    return "✓" if holds else "✗"


def tone(holds: bool) -> str:
    """The CSS class of that sign."""
    return "good" if holds else "bad"


def _mark(result: InvariantResult) -> str:
    return "○" if result.unchecked else mark(result.holds)


def _tone(result: InvariantResult) -> str:
    return "mute" if result.unchecked else tone(result.holds)


def _told(result: InvariantResult) -> str:
    if result.unchecked:
        return result.note
    return "holds" if result.holds else "does not hold"


def _violations(result: InvariantResult) -> Markup:
    items = [element("li", _finding(finding)) for finding in result.violations]
    more = result.total_violations - len(result.violations)
    if more > 0:
        items.append(element("li", text(f"and {more:,} more")))
    heading = element("p", text(f"{result.name} does not hold:"), class_="bad")
    return element("div", heading, element("ul", *items), class_="violations")


def _finding(finding: Finding) -> Markup:
    return join(element("code", text(finding.subject)), text(f": {finding.detail}"))
