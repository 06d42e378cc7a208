"""Where things lie on the time line."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from chaos.reporting.drawing.frame import Frame
from chaos.reporting.drawing.packing import pack, shortened, text_width
from chaos.reporting.figures import clock, moment, seconds
from chaos.reporting.markup import element, text

BEGAN_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RIGHT = 1000.0


def frame(length_s: float, *, origin_s: float = 0.0, by_clock: bool = False, width: float = 1114.0) -> Frame:
    origin = BEGAN_AT + timedelta(seconds=origin_s)
    return Frame(BEGAN_AT, BEGAN_AT + timedelta(seconds=length_s), origin, width, 100.0, by_clock, "then")


def test_an_instant_lies_where_its_share_of_the_window_is() -> None:
    window = frame(10)
    assert window.x(BEGAN_AT) == 100
    assert window.x(BEGAN_AT + timedelta(seconds=5)) == pytest.approx(600)
    assert window.x(BEGAN_AT + timedelta(seconds=99)) == pytest.approx(1100)


@pytest.mark.parametrize("length_s", [0.5, 3, 20, 90, 600, 1500, 86_400])
@pytest.mark.parametrize("width", [360.0, 1120.0])
def test_tick_labels_do_not_touch_each_other(length_s: float, width: float) -> None:
    ticks = list(frame(length_s, by_clock=length_s >= 60, width=width).ticks())
    assert len(ticks) >= 2
    for (x, label), (following, _) in pairwise(ticks):
        assert following - x > text_width(label)


def test_ticks_count_from_the_origin() -> None:
    labels = [label for _, label in frame(10, origin_s=4).ticks()]
    assert labels == [f"{value} s".replace("-", "−") for value in range(-4, 7)]


def test_bars_and_labels_of_one_row_do_not_overlap() -> None:
    bars = [(x * 37.0, x * 37.0 + 10 + x % 7 * 20, f"kill replica-{x}") for x in range(25)]
    reaches: dict[int, list[tuple[float, float]]] = {}
    placed = pack(bars, RIGHT, max_rows=12)
    for place in placed:
        begins, ends, _ = bars[place.index]
        wide = text_width(place.label)
        label_from = place.label_x - (wide if place.before else 0)
        assert label_from >= 0
        assert label_from + wide <= RIGHT
        reaches.setdefault(place.row, []).append((min(begins, label_from), max(ends, label_from + wide)))
    assert all(place.label for place in placed)
    for row in reaches.values():
        for (_, ends), (begins, _) in pairwise(row):
            assert ends <= begins


def test_too_many_bars_share_the_rows_that_there_are_without_labels() -> None:
    placed = pack([(x, x + 100.0, "kill") for x in range(20)], RIGHT, max_rows=4)
    assert {place.row for place in placed} == {0, 1, 2, 3}
    assert {place.label for place in placed} == {""}


def test_a_label_too_long_for_its_room_is_shortened_or_left_out() -> None:
    assert shortened("replica-1", 100) == "replica-1"
    assert shortened("replica-1-in-the-far-north", 60).endswith("…")
    assert text_width(shortened("replica-1-in-the-far-north", 60)) <= 60
    assert shortened("replica-1", 10) == ""


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0.0834, "83 ms"),
        (0.9999, "1.00 s"),
        (3.021, "3.02 s"),
        (45.0, "45 s"),
        (59.96, "60 s"),
        (725, "12 min 5 s"),
    ],
)
def test_durations_are_told_as_exactly_as_they_matter(value: float, told: str) -> None:
    assert seconds(value) == told


def test_instants_of_a_run_are_told_as_minutes_and_seconds() -> None:
    assert [clock(value) for value in (-0.2, 5, 65, 3_665, -65)] == [
        "0:00",
        "0:05",
        "1:05",
        "1:01:05",
        "−1:05",
    ]
    assert moment(BEGAN_AT + timedelta(seconds=79.96), BEGAN_AT) == "1:20.0"


def test_markup_escapes_what_is_not_markup() -> None:
    written = element("p", text("<b>&"), title="\"'>", data_column="x", open=True, hidden=False, lang=None)
    assert written == '<p title="&quot;&#x27;&gt;" data-column="x" open="open">&lt;b&gt;&amp;</p>'
