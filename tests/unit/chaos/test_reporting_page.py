"""The page: whole, safe, complete, and made of nothing but itself."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser

import pytest
from tests.support.run_reports import TITLES, run_report

from chaos.reporting.drawing.picture import NARROW, WIDE, close_up, overview, picture
from chaos.reporting.page.page import page
from chaos.reporting.stretches import stretches

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;\x00\x1b]]>"
VOID = {"meta", "br", "hr"}
LOADS = {"src", "srcset", "data", "poster", "action", "background"}
SVG = "{http://www.w3.org/2000/svg}"


class Reader(HTMLParser):
    """Follows what is open, and keeps what a test may ask for."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def attributes(self, name: str) -> list[str]:
        return [value for _, attributes in self.tags if (value := attributes.get(name)) is not None]


def read(document: str) -> Reader:
    reader = Reader()
    reader.feed(document)
    reader.close()
    return reader


@cache
def hostile_page() -> str:
    return page(run_report(6, broken="I3", name=HOSTILE))


def test_every_element_that_is_opened_is_closed_in_its_turn() -> None:
    assert read(page(run_report(6))).open == []
    assert read(hostile_page()).open == []


def test_it_loads_nothing_and_runs_nothing() -> None:
    reader = read(hostile_page())
    assert not {"script", "link", "img", "iframe", "object", "embed", "form"} & {
        tag for tag, _ in reader.tags
    }
    for tag, attributes in reader.tags:
        assert not LOADS & attributes.keys(), tag
        assert not [name for name in attributes if name.startswith("on")], tag
    assert all(target.startswith("#") for target in reader.attributes("href"))
    everything = page(run_report(6)).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|@import|url\((?!#)", everything)


def test_the_browser_is_told_to_fetch_and_run_nothing() -> None:
    [policy] = [
        attributes["content"]
        for _, attributes in read(page(run_report(1))).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy is not None
    assert policy.startswith("default-src 'none'")
    assert "script-src" not in policy


def test_hostile_names_are_shown_as_what_they_are() -> None:
    shown = "".join(read(hostile_page()).texts)
    assert "<script>alert(1)</script>" in shown
    assert "\x00" not in hostile_page()


def test_every_picture_is_xml_with_a_title_and_a_description_and_says_what_is_in_it() -> None:
    pictures = re.findall(r"<svg [^>]*viewBox.*?</svg>", hostile_page(), re.DOTALL)
    assert len(pictures) == 2 * (1 + 6)
    for drawn in pictures:
        root = ET.fromstring(drawn)
        assert root.tag == f"{SVG}svg"
        assert root.findtext(f"{SVG}title")
        assert "without a charge" in (root.findtext(f"{SVG}desc") or "")


def test_a_long_scenario_is_shown_minute_by_minute() -> None:
    report = run_report(16)
    mix = replace(report.scenarios[0], ended_at=report.timeline.ended_at)
    assert 180 < mix.duration_s < 240
    shown = page(replace(report, scenarios=(mix,)))
    titles = re.findall(r"<title>(time line of kill-leader, part \d)</title>", shown)
    assert titles == [f"time line of kill-leader, part {part}" for part in (1, 1, 2, 2, 3, 3, 4, 4)]


def test_ids_are_unique_and_every_link_leads_somewhere() -> None:
    reader = read(page(run_report(6)))
    ids = reader.attributes("id")
    assert len(ids) == len(set(ids))
    assert {target.removeprefix("#") for target in reader.attributes("href")} <= set(ids)


def test_every_table_has_a_caption() -> None:
    tags = [tag for tag, _ in read(page(run_report(6, broken="I1"))).tags]
    assert tags.count("table") == tags.count("caption") > 5


def test_every_invariant_is_there_with_its_count() -> None:
    shown = read(page(run_report(3))).texts
    for name, title in TITLES.items():
        assert f"✓ {name}" in shown
        assert title in shown
        assert f"{12_000 + 7 * int(name[1]):,}" in shown


def test_an_invariant_that_nobody_checked_is_not_shown_as_one_that_holds() -> None:
    report = run_report(1)
    unchecked = tuple(
        replace(each, checked=0, note="not checked: too old") if each.name == "I4" else each
        for each in report.final.invariants
    )
    shown = read(page(replace(report, final=replace(report.final, invariants=unchecked)))).texts
    assert "○ I4" in shown
    assert "✗ I4" not in shown


def test_it_says_first_whether_the_run_holds_and_how_to_repeat_it() -> None:
    good, bad = page(run_report(3)), page(run_report(3, broken="I3"))
    assert "✓ The verdict holds" in read(good).texts
    assert "✗ Does not hold: I3 broken, 1 finding of the workload" in read(bad).texts
    assert "customer c-3 is there twice" in read(bad).texts
    assert "middleman chaos run --scenario all --seed 1" in read(good).texts


def test_an_interrupted_run_says_so() -> None:
    shown = "".join(read(page(replace(run_report(1), interrupted=True))).texts)
    assert "✗ Does not hold: the run was interrupted" in shown


def test_a_scenario_shows_why_it_failed_and_is_unfolded() -> None:
    reader = read(page(run_report(6)))
    assert "the verdict does not hold: I3" in reader.texts
    assert [attributes for tag, attributes in reader.tags if tag == "details" and "open" in attributes]
    assert "this target cannot do what it needs: data" in reader.texts


def test_a_run_without_terms_charges_or_faults_has_a_page_too() -> None:
    report = run_report(1)
    line = replace(report.timeline, charges=(), terms=(), takeovers=())
    scenario = replace(report.scenarios[0], faults=(), observations=(), verdict=None, state="failed")
    empty = replace(report, timeline=line, scenarios=(scenario,), schedule=(), workload={}, machine={})
    assert read(page(empty)).open == []
    assert read(page(replace(empty, scenarios=()))).open == []


def test_a_long_run_stays_a_small_page() -> None:
    report = run_report(110)
    assert report.duration_s > 20 * 60
    assert len(page(report).encode()) < 2_000_000


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_nothing_is_drawn_outside_the_picture(width: float) -> None:
    report = run_report(8)
    silent = stretches(report)
    for subject in (overview(report), *(close_up(report, each) for each in report.scenarios if each.faults)):
        root = ET.fromstring(picture(report, silent, subject, width))
        height = float(root.attrib["viewBox"].split()[3])
        for box in root.iter(f"{SVG}rect"):
            x, y, wide, high = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
            assert x >= 0, box.attrib
            assert x + wide <= width, box.attrib
            assert y + high <= height, box.attrib


def test_the_picture_alone_carries_its_colours_and_says_what_it_is_of() -> None:
    report = run_report(3)
    root = ET.fromstring(picture(report, stretches(report), overview(report), WIDE, alone=True))
    [style] = root.iter(f"{SVG}style")
    assert "prefers-color-scheme:dark" in (style.text or "")
    assert report.command in "".join(root.itertext())
    assert not list(root.iter(f"{SVG}a"))
