"""The live view: one frame of figures, drawn for a terminal of at least 80 × 24."""

from collections.abc import Sequence

from rich.align import Align
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chaos.demo.figures import Figures, ReplicaFigure, Takeover

_BARS = "▁▂▃▄▅▆▇█"
_ROLE_STYLES = {
    "leader": "bold green",
    "follower": "cyan",
    "candidate": "yellow",
    "starting": "yellow",
    "dead": "bold red",
}
_ROLE_MARKS = {"leader": "★", "dead": "✗", "starting": "…"}
_MOODS = {"money": "green", "bad": "yellow", "term": "bold magenta", "plain": "white"}
_BORDER = "bright_black"


def frame(figures: Figures) -> RenderableType:
    """The whole picture."""
    layout = Layout()
    layout.split_column(
        Layout(_header(figures), size=1),
        Layout(name="now", size=max(7, len(figures.replicas) + 4)),
        Layout(name="past"),
        Layout(_footer(figures), size=3),
    )
    layout["now"].split_row(
        Layout(_panel("replicas", _replicas(figures)), ratio=4),
        Layout(_panel("money", _money(figures)), ratio=5),
    )
    layout["past"].split_row(
        Layout(_panel("leaders killed", _takeovers(figures.takeovers)), ratio=4),
        Layout(_panel("what happens", _ticker(figures)), ratio=5),
    )
    return layout


def sparkline(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars, the highest of them full."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    if top <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in shown)


def _panel(title: str, content: RenderableType) -> Panel:
    return Panel(content, title=f"[bold]{title}[/]", title_align="left", border_style=_BORDER, padding=(0, 1))


def _header(figures: Figures) -> RenderableType:
    row = Table.grid(expand=True)
    row.add_column()
    row.add_column(justify="right")
    minutes, seconds = divmod(int(figures.elapsed_s), 60)
    date = f"{figures.business_now:%-d %B %Y %H:%M}" if figures.business_now is not None else ""
    row.add_row(
        Text.assemble(
            (" Middleman ", "bold white on blue"), (f"  {date}", "bold"), _pace(figures.clock_rate)
        ),
        Text(f"{minutes:02d}:{seconds:02d} ", style="bold"),
    )
    return row


def _pace(rate: float) -> tuple[str, str]:
    if rate == 0:
        return "  clock stopped", "dim"
    return (f"  {rate * 60 / 86_400:.0f} days a minute", "dim") if rate > 1 else ("", "")


def _replicas(figures: Figures) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    for replica in figures.replicas:
        style = _ROLE_STYLES.get(replica.role, "white")
        table.add_row(
            Text(_ROLE_MARKS.get(replica.role, "·"), style=style),
            Text(replica.name, style=style),
            Text(_role(replica), style=style),
            Text(f"pid {replica.pid}" if replica.pid is not None else "", style="dim"),
        )
    if not figures.replicas:
        return Text("not started yet", style="dim")
    if figures.leader is None:
        table.add_row("", "", Text("nobody leads", style="bold yellow"), "")
    return table


def _role(replica: ReplicaFigure) -> str:
    return f"{replica.role}, term {replica.term}" if replica.term is not None else replica.role


def _money(figures: Figures) -> RenderableType:
    rate = figures.charges_per_s[-1] if figures.charges_per_s else 0.0
    declined = figures.outcomes.get("declined", 0)
    others = sum(figures.outcomes.values()) - figures.charged - declined
    return Group(
        Text.assemble((f"{figures.charged:,}", "bold green"), " charges settled"),
        Text.assemble((f"{rate:,.0f}", "bold"), (" a second", ""), (f"   {figures.due:,} due now", "dim")),
        Text(sparkline(figures.charges_per_s, 38), style="green", no_wrap=True),
        Text(
            f"{declined:,} declined" + (f", {others:,} other" if others else ""),
            style="yellow" if declined or others else "dim",
        ),
    )


def _takeovers(takeovers: Sequence[Takeover]) -> RenderableType:
    if not takeovers:
        return Text("none yet", style="dim")
    table = Table.grid(padding=(0, 1))
    for takeover in list(takeovers)[-8:]:
        table.add_row(Text(f"✗ {takeover.killed}", style="red"), _succession(takeover))
    return table


def _succession(takeover: Takeover) -> Text:
    if takeover.took_office_s is None:
        return Text("→ nobody yet", style="yellow")
    charged = f", charging {takeover.first_charge_s:.2f} s" if takeover.first_charge_s is not None else ""
    return Text.assemble(
        ("→ ", "dim"),
        (f"{takeover.successor}", "green"),
        f" {takeover.took_office_s:.2f} s",
        (charged, "dim"),
    )


def _ticker(figures: Figures) -> RenderableType:
    if not figures.ticker:
        return Text("\n".join(figures.progress), style="dim")
    lines = [
        Text.assemble((f"{tick.at:%H:%M:%S} ", "dim"), (tick.text, _MOODS[tick.mood]), overflow="ellipsis")
        for tick in reversed(figures.ticker)
    ]
    for line in lines:
        line.no_wrap = True
    return Group(*lines)


def _footer(figures: Figures) -> RenderableType:
    row = Table.grid(expand=True, padding=(0, 1))
    row.add_column(ratio=1)
    row.add_column(width=22)
    row.add_column(justify="right")
    row.add_row(
        Text(figures.phase, style="bold", no_wrap=True, overflow="ellipsis"),
        Align(
            ProgressBar(total=figures.subscribers_wanted, completed=figures.subscribed, width=20),
            vertical="middle",
        ),
        Text(f"{figures.subscribed:,}/{figures.subscribers_wanted:,} subscribers", no_wrap=True),
    )
    return Panel(row, border_style=_BORDER, subtitle="[dim]Ctrl-C: stop, come to rest, judge[/]")
