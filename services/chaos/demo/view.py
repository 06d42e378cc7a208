"""The live view: one frame of figures, drawn for a terminal of at least 80 × 24."""

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from chaos.demo.figures import Figures, ReplicaFigure, Takeover

_BARS = " ▁▂▃▄▅▆▇█"
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
        Layout(name="now", size=max(7, len(figures.replicas) + 3)),
        Layout(name="past"),
        Layout(_footer(figures), size=4),
    )
    layout["now"].split_row(
        Layout(_panel("replicas", _replicas(figures)), ratio=1),
        Layout(_panel("money", _money(figures)), ratio=1),
    )
    layout["past"].split_row(
        Layout(_panel("leaders killed, time to the next", _takeovers(figures.takeovers)), ratio=1),
        Layout(_panel("what happens", _ticker(figures)), ratio=1),
    )
    return layout


def chart(values: Sequence[float], width: int, height: int = 2) -> list[str]:
    """The last `width` values as bars over `height` lines, top line first; the highest value fills them."""
    shown = list(values)[-width:]
    top = max(shown, default=0.0)
    full = len(_BARS) - 1
    levels = [round(value / top * full * height) if top > 0 else 0 for value in shown]
    return [
        "".join(_BARS[min(full, max(0, level - full * (height - 1 - line)))] for level in levels)
        for line in range(height)
    ]


class _Chart:
    """Bars as wide as the panel that they are drawn in."""

    def __init__(self, values: Sequence[float]) -> None:
        self._values = values

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in chart(self._values, options.max_width):
            yield Text(line, style="green", no_wrap=True)


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
    if not figures.replicas:
        return Text("not started yet", style="dim")
    table = Table.grid(padding=(0, 1))
    for column in range(4):
        table.add_column(no_wrap=True, min_width=14 if column == 2 else None)
    for replica in figures.replicas:
        style = _ROLE_STYLES.get(replica.role, "white")
        table.add_row(
            Text(_ROLE_MARKS.get(replica.role, "·"), style=style),
            Text(replica.name, style=style),
            Text(_role(replica), style=style),
            Text(f"{replica.pid}" if replica.pid is not None else "", style="dim"),
        )
    if figures.leader is None:
        table.add_row("", Text("nobody leads", style="bold yellow"), "", "")
    return table


def _role(replica: ReplicaFigure) -> str:
    return f"{replica.role} term {replica.term}" if replica.term is not None else replica.role


def _money(figures: Figures) -> RenderableType:
    rate = figures.charges_per_s[-1] if figures.charges_per_s else 0.0
    declined = figures.outcomes.get("declined", 0)
    others = sum(figures.outcomes.values()) - figures.charged - declined
    return Group(
        Text.assemble((f"{figures.charged:,}", "bold green"), " charges settled"),
        Text.assemble((f"{rate:,.0f}", "bold"), (" a second", ""), (f"   {figures.due:,} due now", "dim")),
        _Chart(figures.charges_per_s),
        Text(
            f"{declined:,} declined" + (f", {others:,} other" if others else ""),
            style="yellow" if declined or others else "dim",
        ),
    )


def _takeovers(takeovers: Sequence[Takeover]) -> RenderableType:
    if not takeovers:
        return Text("none yet", style="dim")
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", show_edge=False)
    table.add_column("killed", style="red", no_wrap=True)
    table.add_column("successor", no_wrap=True)
    table.add_column("leads", justify="right", no_wrap=True)
    table.add_column("charges", justify="right", style="dim", no_wrap=True)
    for takeover in list(takeovers)[-10:]:
        successor = Text(takeover.successor, "green") if takeover.successor else Text("nobody", "yellow")
        table.add_row(
            takeover.killed, successor, _seconds(takeover.took_office_s), _seconds(takeover.first_charge_s)
        )
    return table


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.1f} s" if value >= 1 else f"{value * 1000:.0f} ms"


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
    crowd = Table.grid(expand=True, padding=(0, 1))
    crowd.add_column(ratio=1)
    crowd.add_column(justify="right")
    crowd.add_row(
        ProgressBar(total=figures.subscribers_wanted, completed=figures.subscribed, complete_style="cyan"),
        Text(f"{figures.subscribed:,}/{figures.subscribers_wanted:,} subscribers", no_wrap=True),
    )
    doing = Text(figures.doing, style="bold", no_wrap=True, overflow="ellipsis")
    return Panel(
        Group(doing, crowd), border_style=_BORDER, subtitle="[dim]Ctrl-C: stop, come to rest, judge[/]"
    )
