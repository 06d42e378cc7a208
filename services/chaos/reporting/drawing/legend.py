"""What the marks mean."""

from chaos.reporting.drawing.frame import Band, Frame
from chaos.reporting.drawing.lanes import TONES, holders
from chaos.reporting.drawing.packing import text_width
from chaos.reporting.markup import Markup, element, join, shape, text
from chaos.reporting.spans import Timeline

ROW_HEIGHT = 18.0
KEY_WIDTH = 22.0


def legend_band(frame: Frame, y: float, timeline: Timeline) -> Band:
    """Keys in as many rows as they need."""
    keys = [
        (_shades(index), f"terms and charges of {holder}")
        for index, holder in enumerate(holders(timeline)[:TONES])
    ]
    keys += [
        ((("hollow r0a", 0.0, KEY_WIDTH),), "in office, but gone: nobody has taken over yet"),
        ((("others", 0.0, KEY_WIDTH),), "declined, or wants the customer"),
        ((("fault", 0.0, KEY_WIDTH), ("struck", 0.0, 2.5)), "fault"),
        ((("stretch takeover", 0.0, KEY_WIDTH),), "nobody charges"),
        ((("stretch rest", 0.0, KEY_WIDTH),), "clock stopped for the judge: nothing is due"),
    ]
    x, top, drawn = frame.left, y + 6, []
    for marks, label in keys:
        needed = KEY_WIDTH + 6 + text_width(label, 10.5) + 14
        if x + needed > frame.right + 14 and x > frame.left:
            x, top = frame.left, top + ROW_HEIGHT
        drawn.append(_key(x, top, marks, label))
        x += needed
    return Band(top + ROW_HEIGHT - y, join(*drawn))


def _shades(index: int) -> tuple[tuple[str, float, float], ...]:
    return (f"r{index}a", 0.0, KEY_WIDTH / 2), (f"r{index}b", KEY_WIDTH / 2, KEY_WIDTH / 2)


def _key(x: float, y: float, marks: tuple[tuple[str, float, float], ...], label: str) -> Markup:
    boxes = [
        shape("rect", x=x + offset, y=y, width=width, height=10, class_=mark) for mark, offset, width in marks
    ]
    return join(*boxes, element("text", text(label), x=x + KEY_WIDTH + 6, y=y + 9, class_="small"))
