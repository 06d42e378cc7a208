"""Who led: a lane per replica, a bar per term."""

from collections import Counter
from collections.abc import Mapping, Sequence

from chaos.reporting.drawing.frame import Band, Frame
from chaos.reporting.drawing.packing import shortened, text_width
from chaos.reporting.figures import seconds, since
from chaos.reporting.markup import Markup, element, join, shape, text
from chaos.reporting.spans import TermSpan, Timeline

LANE_HEIGHT = 20.0
LANE_SPACE = 4.0
MIN_WIDTH = 1.5
TONES = 4
"""So many replicas have a colour of their own (see `style`); more begin anew."""

Tones = Mapping[int, str]


def holders(timeline: Timeline) -> list[str]:
    """Everybody who led, in the order of the lanes: `replica-10` comes after `replica-9`."""
    return sorted({term.holder for term in timeline.terms}, key=lambda name: (len(name), name))


def tones(timeline: Timeline) -> Tones:
    """A CSS class for each term: the replica's colour, in two shades by turns."""
    lanes = {holder: index % TONES for index, holder in enumerate(holders(timeline))}
    so_far: Counter[str] = Counter()
    found = {}
    for term in timeline.terms:
        found[term.number] = f"r{lanes[term.holder]}{'ab'[so_far[term.holder] % 2]}"
        so_far[term.holder] += 1
    return found


def lanes_band(frame: Frame, y: float, timeline: Timeline) -> Band:
    """A lane for everybody who led in the whole run, so that lanes of one report are alike."""
    of_term = tones(timeline)
    parts: list[Markup] = []
    for lane, holder in enumerate(holders(timeline)):
        top = y + lane * (LANE_HEIGHT + LANE_SPACE)
        label = shortened(holder, frame.left - 10)
        parts += [
            element("text", text(label), x=frame.left - 8, y=top + 14, class_="end"),
            shape(
                "rect", x=frame.left, y=top, width=frame.right - frame.left, height=LANE_HEIGHT, class_="lane"
            ),
        ]
        mine = [term for term in timeline.terms if term.holder == holder]
        parts += _bars(frame, top, mine, timeline, of_term)
    return Band(len(holders(timeline)) * (LANE_HEIGHT + LANE_SPACE), join(*parts))


def _bars(
    frame: Frame, top: float, terms: Sequence[TermSpan], timeline: Timeline, of_term: Tones
) -> list[Markup]:
    return [
        _bar(frame, top, term, timeline, of_term[term.number])
        for term in terms
        if frame.shows(term.started_at, term.ended_at or timeline.ended_at)
    ]


def _bar(frame: Frame, top: float, term: TermSpan, timeline: Timeline, tone: str) -> Markup:
    ended_at = term.ended_at or timeline.ended_at
    # A dead or frozen leader's term is closed by its successor only: after its last charge the bar is hollow.
    worked_until = (term.last_charge_at or term.started_at) if term.reason == "superseded" else ended_at
    x, end = frame.x(term.started_at), frame.x(ended_at)
    solid_end = min(max(frame.x(worked_until), x), end)
    width = max(end - x, MIN_WIDTH)
    size = {"y": top + 2, "height": LANE_HEIGHT - 4, "rx": 2}
    drawn = [
        element("title", text(_told(term, timeline))),
        shape("rect", x=x, width=width, class_=f"{tone} hollow", **size) if end - solid_end > 0.5 else join(),
        shape("rect", x=x, width=max(solid_end - x, MIN_WIDTH), class_=tone, **size),
    ]
    number = str(term.number)
    if text_width(number) + 5 <= solid_end - x:
        drawn.append(
            element("text", text(number), x=(x + solid_end) / 2, y=top + 14, class_=f"on {tone}-ink mid")
        )
    return element("g", *drawn)


def _told(term: TermSpan, timeline: Timeline) -> str:
    told = f"term {term.number}, {term.holder}: from {since(term.started_at, timeline.began_at)}"
    if term.ended_at is not None:
        told += f" to {since(term.ended_at, timeline.began_at)} ({term.reason})"
    if term.first_charge_at is None:
        return f"{told}; it charged nobody"
    return f"{told}; first charge after {seconds((term.first_charge_at - term.started_at).total_seconds())}"
