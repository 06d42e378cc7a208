"""What was done to the system: each fault from its beginning to its end."""

from collections.abc import Iterable
from datetime import datetime

from chaos.drive.record import Fault
from chaos.reporting.drawing.frame import NO_BAND, Band, Frame
from chaos.reporting.drawing.packing import Placed, pack
from chaos.reporting.figures import seconds, since
from chaos.reporting.markup import Markup, element, join, shape, text

ROW_HEIGHT = 16.0
BAR_HEIGHT = 12.0
MIN_WIDTH = 2.5
BELOW = 6.0


def faults_band(frame: Frame, y: float, faults: Iterable[Fault], began_at: datetime, max_rows: int) -> Band:
    """Faults packed into at most `max_rows` rows; `began_at` is the run's, for what the pointer is told."""
    shown = sorted(
        (fault for fault in faults if frame.shows(fault.began_at, fault.ended_at or frame.to_at)),
        key=lambda fault: (fault.began_at, fault.number),
    )
    if not shown:
        return NO_BAND
    bars = [_extent(frame, fault) for fault in shown]
    placed = pack(
        [(x, end, name(fault)) for (x, end), fault in zip(bars, shown, strict=True)], frame.right, max_rows
    )
    rows = max(place.row for place in placed) + 1
    label = element("text", text("faults"), x=frame.left - 8, y=y + 10, class_="end")
    drawn = [_bar(y, place, bars[place.index], shown[place.index], began_at) for place in placed]
    return Band(rows * ROW_HEIGHT + BELOW, join(label, *drawn))


def name(fault: Fault) -> str:
    """`kill replica-1`."""
    return f"{fault.kind} {fault.whom}".strip()


def _extent(frame: Frame, fault: Fault) -> tuple[float, float]:
    x = min(frame.x(fault.began_at), frame.right - MIN_WIDTH)
    return x, max(frame.x(fault.ended_at or frame.to_at), x + MIN_WIDTH)


def _bar(y: float, place: Placed, extent: tuple[float, float], fault: Fault, began_at: datetime) -> Markup:
    x, end = extent
    top = y + place.row * ROW_HEIGHT
    drawn = [
        element("title", text(_told(fault, began_at))),
        shape("rect", x=x, y=top, width=end - x, height=BAR_HEIGHT, class_="fault"),
        shape("rect", x=x, y=top, width=MIN_WIDTH, height=BAR_HEIGHT, class_="struck"),
    ]
    if place.label:
        drawn.append(
            element(
                "text",
                text(place.label),
                x=place.label_x,
                y=top + 10,
                class_="small end" if place.before else "small",
            )
        )
    return element("g", *drawn)


def _told(fault: Fault, began_at: datetime) -> str:
    told = f"fault {fault.number}: {name(fault)}, {fault.scenario}, at {since(fault.began_at, began_at)}"
    if fault.ended_at is not None:
        told += f", for {seconds((fault.ended_at - fault.began_at).total_seconds())}"
    return told
