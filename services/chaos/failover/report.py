"""What was measured, for people and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from chaos.demo.view import chart
from chaos.failover.plan import Path, Plan
from chaos.failover.spread import Bin, Spread, histogram
from chaos.failover.timeline import STAGES, TOTAL, Takeover
from chaos.judge.verdict import Verdict

BAR_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Report:
    """What came of a measurement. `failure` says why it ended before its last run; empty when it did not."""

    plan: Plan
    lease_ttl_s: int
    runs: tuple[Takeover, ...]
    verdict: Verdict
    left_moving: str
    interrupted: bool
    failure: str

    @property
    def holds(self) -> bool:
        """Whether the verdict holds and every run that was begun came to its end."""
        return self.verdict.holds and not self.failure

    @property
    def ratio(self) -> float | None:
        """How many times longer the lease-only path takes, by the medians; None unless both were measured."""
        totals = [_totals(self.runs, path) for path in (Path.PULSE, Path.LEASE_ONLY)]
        if not all(totals):
            return None
        pulse, lease_only = (Spread.of(each).median_s for each in totals)
        return lease_only / pulse

    def to_json(self) -> dict[str, Any]:
        """`paths` has, for each path, a spread per stage in seconds since the fault; `runs` has every run.

        `measured` has the same by the successor's own clock, since it noticed.
        """
        paths = {path: _spreads(stage_values(self.runs, path)) for path in self.plan.paths}
        own_clock = {path: _spreads(measured_values(self.runs, path)) for path in self.plan.paths}
        return {
            "holds": self.holds,
            "plan": asdict(self.plan),
            "lease_ttl_s": self.lease_ttl_s,
            "interrupted": self.interrupted,
            "failure": self.failure,
            "left_moving": self.left_moving,
            "paths": paths,
            "measured": own_clock,
            "ratio": round(self.ratio, 3) if self.ratio is not None else None,
            "runs": [run.to_json() for run in self.runs],
            "verdict": self.verdict.to_json(),
        }


def stage_values(runs: Sequence[Takeover], path: Path) -> dict[str, list[float]]:
    """Every stage that occurred on that path, in the order of `STAGES`, with its values run by run."""
    on_path = [run.stages for run in runs if run.path is path]
    values = {name: [stages[name] for stages in on_path if name in stages] for name in STAGES}
    return {name: found for name, found in values.items() if found}


def measured_values(runs: Sequence[Takeover], path: Path) -> dict[str, list[float]]:
    """The same as the successors measured it, since they noticed."""
    on_path = [run.measured for run in runs if run.path is path]
    values = {name: [stages[name] for stages in on_path if name in stages] for name in STAGES}
    return {name: found for name, found in values.items() if found}


def told(run: Takeover, plan: Plan) -> str:
    """One run on one line."""
    needless = f", {run.needless_terms} needless in between" if run.needless_terms else ""
    return (
        f"{plan.kind} {run.number}/{plan.runs} ({run.path}): {run.victim} -> {run.successor}, "
        f"term {run.successor_term}{needless}: charges after {seconds(run.total_s)}"
    )


def figures(report: Report) -> RenderableType:
    """A table and a histogram for each path, and the ratio between them."""
    parts: list[RenderableType] = []
    for path in report.plan.paths:
        totals = _totals(report.runs, path)
        if not totals:
            continue
        parts += [_heading(report, path, len(totals)), _stages(report.runs, path), Text()]
        parts += [
            Text("from the fault to the first charge settled by the successor"),
            _bars(histogram(totals)),
        ]
        parts.append(Text())
    if report.ratio is not None:
        parts.append(Text(f"without the pulse it takes {report.ratio:.1f} times as long (medians)", "bold"))
    if report.interrupted:
        parts.append(Text("interrupted: the remaining runs were not made", "yellow"))
    if report.failure:
        parts.append(Text(f"FAILED: {report.failure}", "bold red"))
    if report.left_moving:
        parts.append(Text(f"NOT at rest when judged: {report.left_moving}", "bold red"))
    return Group(*parts)


def seconds(value: float) -> str:
    """`83 ms`, `3.02 s`."""
    return f"{value:.2f} s" if abs(value) >= 0.9995 else f"{value * 1000:.0f} ms"


def _totals(runs: Sequence[Takeover], path: Path) -> list[float]:
    return [run.total_s for run in runs if run.path is path]


def _heading(report: Report, path: Path, count: int) -> Text:
    needless = sum(run.needless_terms for run in report.runs if run.path is path)
    return Text.assemble(
        (f"{report.plan.kind}, {path}", "bold"),
        f": {count} runs, {report.plan.replicas} replicas, lease {report.lease_ttl_s} s, "
        f"about {report.plan.charges_per_s:.0f} charges a second; {needless} needless terms",
    )


def _stages(runs: Sequence[Takeover], path: Path) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("since the fault")
    for column in ("runs", "min", "median", "p99", "max", "since noticed"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("from min to max", no_wrap=True)
    own = measured_values(runs, path)
    for name, values in stage_values(runs, path).items():
        spread = Spread.of(values)
        cells = (spread.min_s, spread.median_s, spread.p99_s, spread.max_s)
        bars = chart([each.count for each in histogram(values)], width=BAR_WIDTH, height=1)[0]
        style = "bold" if name == TOTAL else ""
        table.add_row(
            STAGES[name],
            str(spread.count),
            *map(seconds, cells),
            seconds(Spread.of(own[name]).median_s) if name in own else "",
            Text(bars, "green"),
            style=style,
        )
    return table


def _spreads(values: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    return {name: Spread.of(found).to_json() for name, found in values.items()}


def _bars(bins: Sequence[Bin]) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    most = max(each.count for each in bins)
    for each in bins:
        bar = "█" * max(round(each.count / most * BAR_WIDTH), 1 if each.count else 0)
        label = f"{seconds(each.from_s)} to {seconds(each.to_s)}"
        table.add_row(Text(label, "dim"), Text(bar, "green"), str(each.count) if each.count else "")
    return table
