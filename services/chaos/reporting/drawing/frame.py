"""Where an instant lies on the page."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from chaos.reporting.figures import clock
from chaos.reporting.markup import Markup, element, join, shape, text

RIGHT_MARGIN = 14.0
AXIS_HEIGHT = 38.0
TICK_SPACE = 62.0
"""The least room of a tick with its label, in user units (pixels at natural size)."""

_STEPS_S = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(minutes * 60.0 for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * 3600.0 for hours in (1, 2, 3, 6, 12, 24)),
)


class Band(NamedTuple):
    """A part of the picture as wide as the frame, drawn from the `y` that it was given down to `y + height`."""

    height: float
    drawn: Markup


NO_BAND = Band(0.0, join())


@dataclass(frozen=True, slots=True)
class Frame:
    """A window of time on a page of some width; lengths in user units. Labels stand left of `left`.

    `origin` is the instant that ticks count from; `by_clock` writes them as minutes and seconds.
    """

    from_at: datetime
    to_at: datetime
    origin: datetime
    width: float
    left: float
    by_clock: bool
    counted_from: str

    @property
    def right(self) -> float:
        return self.width - RIGHT_MARGIN

    @property
    def duration_s(self) -> float:
        return (self.to_at - self.from_at).total_seconds()

    @property
    def px_per_s(self) -> float:
        return (self.right - self.left) / self.duration_s

    def x(self, at: datetime) -> float:
        """Instants outside the window lie on its edge."""
        offset_s = (at - self.from_at).total_seconds()
        return self.left + min(max(offset_s, 0.0), self.duration_s) * self.px_per_s

    def shows(self, from_at: datetime, to_at: datetime) -> bool:
        """Whether any of it lies in the window."""
        return from_at < self.to_at and to_at >= self.from_at

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Where ticks go, and what they say."""
        fitting = (self.right - self.left) / TICK_SPACE
        step_s = next((step for step in _STEPS_S if self.duration_s / step <= fitting), _STEPS_S[-1])
        first_s = (self.from_at - self.origin).total_seconds()
        number = -int(-first_s // step_s)
        while number * step_s <= first_s + self.duration_s:
            at_s = number * step_s
            yield self.x(self.origin + timedelta(seconds=at_s)), self._tick(at_s, step_s)
            number += 1

    def _tick(self, at_s: float, step_s: float) -> str:
        if self.by_clock and step_s >= 1:
            return clock(at_s)
        told = f"{at_s:.1f}" if step_s < 1 else f"{at_s:.0f}"
        return f"{told} s".replace("-", "−")


def grid(frame: Frame, top: float, bottom: float) -> Markup:
    """Thin lines that lead the eye from the axis up."""
    path = "".join(f"M{x:.1f} {top:.1f}V{bottom:.1f}" for x, _ in frame.ticks())
    return shape("path", d=path, class_="grid") if path else join()


def axis(frame: Frame, y: float) -> Band:
    """Ticks with their labels, and what they count."""
    parts = [shape("line", x1=frame.left, x2=frame.right, y1=y, y2=y, class_="axis")]
    parts += [
        element("text", text(label), x=x, y=y + 15, class_="small mid")
        for x, label in frame.ticks()
        if x <= frame.right
    ]
    unit = f"{'minutes:seconds' if frame.by_clock else 'seconds'} since {frame.counted_from}"
    middle = (frame.left + frame.right) / 2
    parts.append(element("text", text(unit), x=middle, y=y + 32, class_="small dim mid"))
    return Band(AXIS_HEIGHT, join(*parts))
