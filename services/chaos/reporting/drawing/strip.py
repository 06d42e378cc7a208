"""Strips of one row: the scenarios, and the stretches without a charge."""

from collections.abc import Sequence

from chaos.reporting.drawing.frame import NO_BAND, Band, Frame
from chaos.reporting.drawing.packing import shortened, text_width
from chaos.reporting.figures import seconds
from chaos.reporting.markup import Markup, element, join, shape, text
from chaos.reporting.run_report import ScenarioResult
from chaos.reporting.stretches import Kind, Stretch

STRIP_HEIGHT = 18.0
BELOW = 8.0
MIN_WIDTH = 1.5
_RANKS = {Kind.TAKEOVER: 0, Kind.PAUSE: 1, Kind.REST: 2}
_MARKS = {"passed": "", "failed": "✗ ", "skipped": "– "}


def scenarios_band(frame: Frame, y: float, scenarios: Sequence[ScenarioResult], *, linked: bool) -> Band:
    """A box per scenario, with its name where it fits, else its number; `linked` leads to its part of the page."""
    if len(scenarios) < 2:
        return NO_BAND
    label = element("text", text("scenarios"), x=frame.left - 8, y=y + 13, class_="end")
    shown = [
        (number, scenario)
        for number, scenario in enumerate(scenarios, start=1)
        if frame.shows(scenario.began_at, scenario.ended_at) and scenario.state != "skipped"
    ]
    labels = [_fitting(number, scenario, _width(frame, scenario)) for number, scenario in shown]
    if sum(map(bool, labels)) * 2 < len(labels):
        labels = [""] * len(labels)  # a few scattered numbers would say nothing
    boxes = [_box(frame, y, *each, told, linked=linked) for each, told in zip(shown, labels, strict=True)]
    return Band(STRIP_HEIGHT + BELOW, join(label, *boxes))


def _width(frame: Frame, scenario: ScenarioResult) -> float:
    return max(frame.x(scenario.ended_at) - frame.x(scenario.began_at) - 1, MIN_WIDTH)


def _fitting(number: int, scenario: ScenarioResult, width: float) -> str:
    mark = _MARKS[scenario.state]
    labels = (f"{mark}{scenario.name}", f"{mark}{number}", str(number))
    return next((label for label in labels if text_width(label) + 2 <= width), "")


def _box(
    frame: Frame, y: float, number: int, scenario: ScenarioResult, label: str, *, linked: bool
) -> Markup:
    x, width = frame.x(scenario.began_at), _width(frame, scenario)
    drawn = [
        element("title", text(f"{number}. {scenario.name}, {scenario.state}: {scenario.shows}")),
        shape("rect", x=x, y=y, width=width, height=STRIP_HEIGHT, rx=2, class_=f"scenario {scenario.state}"),
        element("text", text(label), x=x + width / 2, y=y + 13, class_="small mid") if label else join(),
    ]
    return element("a", *drawn, href=f"#s{number}") if linked else element("g", *drawn)


def stretches_band(frame: Frame, y: float, stretches: Sequence[Stretch]) -> Band:
    """When nobody charged: hatched, with the length where it fits, the longest first."""
    label = element(
        "text", text(shortened("no charges", frame.left - 10)), x=frame.left - 8, y=y + 10, class_="end"
    )
    shown = [each for each in stretches if frame.shows(each.from_at, each.to_at)]
    boxes = [_stretch(frame, y, each) for each in shown]
    return Band(14.0 + BELOW, join(label, *boxes, *_lengths(frame, y, shown)))


def shadows(frame: Frame, top: float, bottom: float, stretches: Sequence[Stretch]) -> Markup:
    """What the stretches cast over the bands between `top` and `bottom`."""
    return join(
        *(
            shape("rect", x=x, y=top, width=width, height=bottom - top, class_=f"shadow {each.kind}")
            for each in stretches
            if frame.shows(each.from_at, each.to_at)
            for x, width in [_extent(frame, each)]
        )
    )


def _extent(frame: Frame, stretch: Stretch) -> tuple[float, float]:
    x = frame.x(stretch.from_at)
    return x, max(frame.x(stretch.to_at) - x, MIN_WIDTH)


def _stretch(frame: Frame, y: float, stretch: Stretch) -> Markup:
    x, width = _extent(frame, stretch)
    told = f"{seconds(stretch.length_s)} without a charge: {stretch.told}"
    box = shape("rect", x=x, y=y, width=width, height=12, class_=f"stretch {stretch.kind}")
    return element("g", element("title", text(told)), box)


def _lengths(frame: Frame, y: float, shown: Sequence[Stretch]) -> list[Markup]:
    """Take-overs first, then the longest: within the box, else right or left of it, where nothing else is."""
    boxes = {each: _extent(frame, each) for each in shown}
    taken: list[tuple[float, float]] = []
    drawn = []
    for each in sorted(shown, key=lambda each: (_RANKS[each.kind], -each.length_s)):
        label = "judged" if each.kind is Kind.REST else seconds(each.length_s)
        room = text_width(label) + 4
        obstacles = [*taken, *((x, x + width) for other, (x, width) in boxes.items() if other is not each)]
        begins = _free(frame, *boxes[each], room, obstacles)
        if begins is None:
            continue
        taken.append((begins, begins + room))
        if boxes[each][0] < begins < sum(boxes[each]):
            drawn.append(shape("rect", x=begins, y=y + 1, width=room, height=10, class_="plate"))
        drawn.append(element("text", text(label), x=begins + 2, y=y + 10, class_="small strong"))
    return drawn


def _free(
    frame: Frame, x: float, width: float, room: float, obstacles: Sequence[tuple[float, float]]
) -> float | None:
    within = [x + (width - room) / 2] if room + 6 <= width else []
    for begins in (*within, x + width + 2, x - room - 3):
        inside = frame.left <= begins and begins + room <= frame.right
        if inside and not any(begins < ends and start < begins + room for start, ends in obstacles):
            return begins
    return None
