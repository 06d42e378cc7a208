"""Charges per second, in the colour of the term that settled them."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from chaos.reporting.drawing.frame import Band, Frame
from chaos.reporting.drawing.lanes import tones
from chaos.reporting.figures import seconds
from chaos.reporting.markup import Markup, element, join, shape, text
from chaos.reporting.spans import Timeline

SPACED_FROM = 4.0
"""Between columns as wide as this there is a little space."""
CLIPPED_FROM = 4.0
SHOWN_UP_TO = 2.5
"""Where a peak is more than the first so many times the median, the scale ends at the second so many times it: what is
caught up after a gap would flatten all the rest."""
OTHERS = "others"
HEADER = 20.0

Columns = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class _Scale:
    column_s: float
    top_per_s: float
    peak_per_s: float

    @property
    def clips(self) -> bool:
        return self.peak_per_s > self.top_per_s


def charges_band(frame: Frame, y: float, timeline: Timeline, height: float, min_column: float) -> Band:
    """Bars stacked by term, attempts that ended otherwise on top; a peak that was cut off has a mark.

    `min_column` is the least width of a column: charges come in batches, and in too narrow ones look ragged.
    """
    column_s = _column_s(frame, timeline.bucket_s, min_column)
    columns = _columns(frame, timeline, column_s)
    scale = _scale(columns, column_s)
    plot = _Plot(frame, timeline.began_at, y + HEADER, height, scale)
    return Band(HEADER + height, join(_header(frame, y, scale), _levels(plot), _bars(plot, columns)))


@dataclass(frozen=True, slots=True)
class _Plot:
    """Where a column and a rate lie."""

    frame: Frame
    began_at: datetime
    top: float
    height: float
    scale: _Scale

    @property
    def bar_width(self) -> float:
        """From a certain width on there is a little space between bars."""
        width = self.scale.column_s * self.frame.px_per_s
        return width - 0.6 if width >= SPACED_FROM else width

    def middle(self, number: int) -> float | None:
        """Where a column stands; None when most of it lies outside the window."""
        at = self.began_at + timedelta(seconds=(number + 0.5) * self.scale.column_s)
        return self.frame.x(at) if self.frame.from_at <= at <= self.frame.to_at else None

    def y(self, per_s: float) -> float:
        """Rates beyond the scale lie at its top."""
        return self.top + self.height * (1 - min(per_s / self.scale.top_per_s, 1.0))


def _column_s(frame: Frame, bucket_s: float, min_column: float) -> float:
    """A round multiple of the buckets' width."""
    least = min_column / frame.px_per_s / bucket_s
    if least <= 1:
        return bucket_s
    magnitude = 10.0 ** math.floor(math.log10(least))
    return bucket_s * next(
        magnitude * step for step in (1, 2, 3, 4, 5, 10) if magnitude * step >= least * (1 - 1e-9)
    )


def _columns(frame: Frame, timeline: Timeline, column_s: float) -> Columns:
    """Settled attempts by column, counted from the time line's beginning, and by CSS class."""
    of_term = tones(timeline)
    found: defaultdict[int, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    first = timeline.began_at
    for bucket in timeline.charges:
        if not frame.shows(bucket.starts_at, bucket.starts_at):
            continue
        middle_s = (bucket.starts_at - first).total_seconds() + timeline.bucket_s / 2
        column = found[math.floor(middle_s / column_s)]
        column[of_term.get(bucket.term, OTHERS)] += bucket.succeeded
        column[OTHERS] += bucket.others
    return found


def _scale(columns: Columns, column_s: float) -> _Scale:
    rates = sorted(sum(column.values()) / column_s for column in columns.values())
    if not rates:
        return _Scale(column_s, 1.0, 0.0)
    usual, peak = median(rates), rates[-1]
    top = SHOWN_UP_TO * usual if peak > CLIPPED_FROM * usual else peak
    return _Scale(column_s, _round_up(top), peak)


def _round_up(value: float) -> float:
    if value <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next(magnitude * step for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if magnitude * step >= value)


def _bars(plot: _Plot, columns: Columns) -> Markup:
    """A path per term, of thick upright lines: far shorter than boxes, and a long run has many."""
    paths: defaultdict[str, list[str]] = defaultdict(list)
    for number, column in sorted(columns.items()):
        x = plot.middle(number)
        if x is None:
            continue
        bottom, level = plot.y(0.0), 0.0
        for tone, settled in sorted(column.items(), key=lambda each: each[0] == OTHERS):
            level += settled / plot.scale.column_s
            top = plot.y(level)
            if top < bottom:
                paths[tone].append(f"M{x:.1f} {bottom:.1f}V{top:.1f}")
            bottom = top
        if level > plot.scale.top_per_s:
            paths["clipped"].append(f"M{x - 2:.1f} {plot.top - 1:.1f}h4l-2 -4z")
    return join(
        *(
            shape("path", d="".join(path), class_=f"bars {tone}", stroke_width=plot.bar_width)
            for tone, path in paths.items()
        )
    )


def _levels(plot: _Plot) -> Markup:
    frame, parts = plot.frame, []
    for share in (0.0, 0.5, 1.0):
        rate = plot.scale.top_per_s * share
        level = plot.y(rate)
        parts.append(shape("line", x1=frame.left, x2=frame.right, y1=level, y2=level, class_="grid"))
        parts.append(
            element("text", text(f"{rate:,.4g}/s"), x=frame.left - 8, y=level + 4, class_="small dim end")
        )
    return join(*parts)


def _header(frame: Frame, y: float, scale: _Scale) -> Markup:
    told = f"charges per second, mean over {seconds(scale.column_s)}"
    if scale.clips:
        told += f" (▲ up to {scale.peak_per_s:,.0f}/s)"
    return element("text", text(told), x=frame.left, y=y + 9, class_="small dim")
