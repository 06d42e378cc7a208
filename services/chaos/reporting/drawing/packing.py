"""Which label fits where."""

from collections.abc import Sequence
from dataclasses import dataclass

FONT_SIZE = 11.0
_SPACE = 4.0
_WIDE = 0.56
"""A letter's mean width, as a share of the font's size: generous for the sans-serifs that systems have."""


def text_width(label: str, size: float = FONT_SIZE) -> float:
    """About how wide a label is drawn."""
    return len(label) * size * _WIDE


def shortened(label: str, room: float, size: float = FONT_SIZE) -> str:
    """The label, or as much of it as fits with an ellipsis; empty when nothing sensible does."""
    if text_width(label, size) <= room:
        return label
    letters = int(room / (size * _WIDE)) - 1
    return f"{label[:letters].rstrip()}…" if letters >= 3 else ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A bar in its row. `label_x` is where its label begins, or ends when it stands `before` the bar.

    The label is empty when there is no room for it.
    """

    index: int
    row: int
    label: str
    label_x: float
    before: bool = False


def pack(bars: Sequence[tuple[float, float, str]], right: float, max_rows: int) -> list[Placed]:
    """Rows for bars `(x from, x to, label)`, in the order given, which should be that of their beginnings.

    Labels stand within the bar or right of it and keep their room where `max_rows` allow; else bars are packed alone,
    without, and those that still find no room share the last row.
    """
    with_labels = _rows([_reach(bar, right) for bar in bars])
    if max(with_labels, default=-1) < max_rows:
        return [
            Placed(index, row, *_label(bar, right))
            for index, (bar, row) in enumerate(zip(bars, with_labels, strict=True))
        ]
    rows = [min(row, max_rows - 1) for row in _rows([(bar[0], bar[1]) for bar in bars])]
    return [Placed(index, row, "", 0.0) for index, row in enumerate(rows)]


def _rows(reaches: Sequence[tuple[float, float]]) -> list[int]:
    ends: list[float] = []
    rows = []
    for begins, ends_at in reaches:
        row = next((row for row, end in enumerate(ends) if end + _SPACE / 2 <= begins), len(ends))
        ends[row : row + 1] = [ends_at]
        rows.append(row)
    return rows


def _label(bar: tuple[float, float, str], right: float) -> tuple[str, float, bool]:
    begins, ends, label = bar
    needed = text_width(label)
    if needed + 2 * _SPACE <= ends - begins:
        return label, begins + _SPACE, False
    if ends + _SPACE + needed <= right:
        return label, ends + _SPACE, False
    if begins - _SPACE - needed >= 0:
        return label, begins - _SPACE, True
    return shortened(label, ends - begins - 2 * _SPACE), begins + _SPACE, False


def _reach(bar: tuple[float, float, str], right: float) -> tuple[float, float]:
    label, at, before = _label(bar, right)
    if before:
        return at - text_width(label) - _SPACE, bar[1]
    return bar[0], max(bar[1], at + text_width(label) + _SPACE) if label else bar[1]
