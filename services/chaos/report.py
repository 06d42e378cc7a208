"""The verdict for people."""

from collections.abc import Mapping
from statistics import median

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chaos.demo.stage import Outcome
from chaos.judge.verdict import InvariantResult, Verdict

SHOWN = 5


def verdict_table(verdict: Verdict) -> RenderableType:
    """Each invariant with its count, then the sum of it."""
    table = Table(box=None, padding=(0, 1), expand=True)
    table.add_column("")
    table.add_column("invariant", ratio=1)
    table.add_column("checked", justify="right")
    table.add_column("violations", justify="right")
    table.add_column("in flight", justify="right")
    for result in verdict.invariants:
        style = "dim" if result.unchecked else "green" if result.holds else "bold red"
        mark = "○" if result.unchecked else "✓" if result.holds else "✗"
        table.add_row(
            Text(f"{mark} {result.name}", style=style),
            Text(result.title + (f" ({result.note})" if result.note else "")),
            f"{result.checked:,}",
            Text(f"{result.total_violations:,}", style="dim" if result.holds else style),
            Text(f"{result.total_pending:,}", style="yellow" if result.total_pending else "dim"),
        )
    parts: list[RenderableType] = [table, Text(), *_summary(verdict)]
    parts += [_violations(result) for result in verdict.invariants if not result.holds]
    colour = "green" if verdict.holds else "red"
    return Panel(
        Group(*parts), title=f"[bold {colour}]{_title(verdict)}[/]", border_style=colour, title_align="left"
    )


def _title(verdict: Verdict) -> str:
    told = "the verdict holds" if verdict.holds else "THE VERDICT DOES NOT HOLD"
    return f"{told} · at rest: {'yes' if verdict.at_rest else 'no'}"


def _summary(verdict: Verdict) -> list[Text]:
    counts = verdict.counts
    invoices: Mapping[str, int] = counts["invoices"]
    # At rest an open invoice is one whose next attempt is not due yet.
    words = {"open": "in dunning"} if verdict.at_rest else {}
    by_status = ", ".join(f"{number:,} {words.get(status, status)}" for status, number in invoices.items())
    return [
        Text.assemble(
            "by the clock ",
            (f"{counts['periods_due']:,}", "bold"),
            f" billing periods of {counts['subscriptions']:,} subscriptions fell due; in the books: ",
            by_status or "no invoices",
            f"; {counts['periods_postponed']:,} postponed" if counts.get("periods_postponed") else "",
        ),
        Text.assemble(
            "in the ledger ",
            (f"{counts['charges_succeeded']:,}", "bold"),
            f" charges succeeded, {counts['charges_failed']:,} were declined"
            f" · {counts['terms']:,} terms of {counts['leaders']:,} leaders",
        ),
    ]


def _violations(result: InvariantResult) -> Text:
    text = Text(f"\n{result.name}: ", style="bold red")
    for finding in result.violations[:SHOWN]:
        text.append(f"\n  {finding.subject}: {finding.detail}", style="red not bold")
    more = result.total_violations - min(SHOWN, len(result.violations))
    if more > 0:
        text.append(f"\n  and {more:,} more", style="dim not bold")
    return text


def run_summary(outcome: Outcome) -> RenderableType:
    """What was done to the system, and what the crowd had to be charged, in a few lines."""
    took = [each.took_office_s for each in outcome.takeovers if each.took_office_s is not None]
    charged = [each.first_charge_s for each in outcome.takeovers if each.first_charge_s is not None]
    lines = [
        f"{outcome.subscribed:,} subscribers in {outcome.ran_s:.0f} s, {outcome.canceled:,} of them canceled; "
        f"up to {outcome.charged_per_s_peak:,.0f} charges a second",
        f"{len(outcome.takeovers)} leaders killed; the next in office after {_spread(took)}, "
        f"charging after {_spread(charged)}",
        f"at rest {outcome.rested_s:.1f} s after the clock stopped"
        if not outcome.left_moving
        else f"NOT at rest after {outcome.rested_s:.0f} s: {outcome.left_moving}",
    ]
    return Text.assemble("\n".join(lines), "\n", _tally(outcome))


def _tally(outcome: Outcome) -> Text:
    told = outcome.tally
    text = Text(
        f"by the clock and the cards {told.charges_expected:,} charges, and {told.charges_made:,} were made"
    )
    if not outcome.everybody_is_in:
        missing = outcome.scenario.subscribers - outcome.subscribed
        text.append(f"\n{missing:,} could not subscribe: the machine was too slow", style="bold red")
    if not told.is_exact:
        text.append(
            f"\ncharged too often or too seldom: {told.total_wrong:,} subscriptions", style="bold red"
        )
    for finding in told.wrong[:SHOWN]:
        text.append(f"\n  {finding.subject}: {finding.detail}", style="red not bold")
    return text


def _spread(seconds: list[float]) -> str:
    if not seconds:
        return "-"
    if max(seconds) < 1:
        return f"{median(seconds) * 1000:.0f} ms (median; {min(seconds) * 1000:.0f} to {max(seconds) * 1000:.0f})"
    return f"{median(seconds):.2f} s (median; {min(seconds):.2f} to {max(seconds):.2f})"
