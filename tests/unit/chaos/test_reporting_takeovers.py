"""Which fault a take-over is counted from, which take-overs count, and when nobody charged."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.run_reports import run_report, verdict

from chaos.drive.record import Fault
from chaos.reporting.bins import NO_FAULT, bins, by_kind
from chaos.reporting.run_report import RunReport
from chaos.reporting.spans import Bucket, Takeover, TermSpan
from chaos.reporting.stretches import Kind, stretches, timed
from chaos.reporting.takeovers import takeovers

BEGAN_AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def at(offset_s: float) -> datetime:
    return BEGAN_AT + timedelta(seconds=offset_s)


def term(
    number: int, started_s: float, first_s: float | None, last_s: float | None, ended_s: float | None
) -> TermSpan:
    first, last, ended = (at(each) if each is not None else None for each in (first_s, last_s, ended_s))
    return TermSpan(
        number, f"replica-{number}", at(started_s), first, last, ended, "superseded" if ended_s else ""
    )


def fault(number: int, whom: str, began_s: float, ended_s: float | None = None) -> Fault:
    return Fault(number, "s", "kill", whom, at(began_s), {}, at(ended_s) if ended_s is not None else None)


OLD, NEW = term(1, 0, 0.1, 10.0, 10.2), term(2, 10.2, 10.3, 20.0, None)


def only(faults: list[Fault]) -> Takeover:
    [takeover] = takeovers((OLD, NEW), faults)
    return takeover


def test_without_a_fault_on_the_leader_it_counts_from_its_last_charge() -> None:
    takeover = only([fault(1, "etcd-1", 9.0), fault(2, "replica-2", 9.0), fault(3, "replica-11", 9.0)])
    assert (takeover.fault, takeover.since) == (None, at(10.0))
    assert takeover.first_charge_s == pytest.approx(0.3)


@pytest.mark.parametrize("whom", ["replica-1", "replica-1, replica-2", "replica-1 -> etcd"])
def test_a_fault_is_on_the_leader_when_it_names_it(whom: str) -> None:
    assert only([fault(1, whom, 9.9, 12.0)]).fault == 1


def test_the_last_fault_on_the_leader_counts() -> None:
    assert only([fault(1, "replica-1", 2.0, 30.0), fault(2, "replica-1", 9.8, 12.0)]).fault == 2


def test_a_fault_that_was_over_while_the_leader_still_charged_did_not_end_its_term() -> None:
    assert only([fault(1, "replica-1", 2.0, 5.0)]).fault is None


def test_a_settle_that_was_under_way_when_the_leader_died_does_not_hide_the_fault() -> None:
    assert only([fault(1, "replica-1", 9.98, 9.99)]).fault == 1


def test_a_fault_on_a_former_or_a_coming_leader_is_not_counted() -> None:
    assert only([fault(1, "replica-1", -1.0, 30.0), fault(2, "replica-1", 10.25, 30.0)]).fault is None


def test_a_successor_that_never_charged_has_no_time_to_the_first_charge() -> None:
    silent = term(2, 10.2, None, None, 11.0)
    first, second = takeovers((OLD, silent, term(3, 11.0, 11.5, 12.0, None)), [])
    assert first.first_charge_s is None
    assert first.in_office_s == pytest.approx(0.2)
    assert (second.victim_term, second.since) == (2, at(10.2))


def test_the_time_without_a_charge_between_two_leaders_is_exact() -> None:
    report = with_charges([(0.0, 1), (0.1, 1), (10.0, 1), (10.3, 2), (10.4, 2)], (OLD, NEW), until_s=10.5)
    found = [each for each in stretches(report) if each.kind is Kind.TAKEOVER]
    assert [(each.from_at, each.to_at) for each in found] == [(at(10.0), at(10.3))]


def test_a_pause_within_a_term_is_shown_when_it_is_long() -> None:
    lone = term(1, 0, 0.1, 4.0, None)
    report = with_charges([(0.1, 1), (0.4, 1), (2.0, 1), (2.1, 1)], (lone,), until_s=2.2)
    [pause] = stretches(report)
    assert (pause.kind, pause.from_at, pause.to_at) == (Kind.PAUSE, at(0.5), at(2.0))


def test_nobody_is_missed_while_the_clock_stands_still_for_the_judge() -> None:
    lone = term(1, 0, 0.1, 4.0, None)
    report = with_charges([(0.1, 1), (2.0, 1), (2.1, 1)], (lone,), until_s=2.2, judged_s=1.0)
    assert [each.kind for each in stretches(report)] == [Kind.REST]


def test_a_change_of_term_while_the_clock_stood_still_is_not_timed() -> None:
    report = with_charges([(0.1, 1), (10.0, 1), (10.3, 2)], (OLD, NEW), until_s=10.4)
    assert len(timed(report)) == 1
    assert timed(replace(report, final=verdict(at(10.1)))) == ()


def with_charges(
    charges: list[tuple[float, int]], terms: tuple[TermSpan, ...], *, until_s: float, judged_s: float = 100.0
) -> RunReport:
    report = run_report(1)
    line = replace(
        report.timeline,
        began_at=at(0),
        ended_at=at(until_s),
        charges=tuple(Bucket(at(offset_s), number, 1, 0) for offset_s, number in charges),
        terms=terms,
        takeovers=takeovers(terms, ()),
    )
    return replace(report, timeline=line, scenarios=(), final=verdict(at(judged_s)))


def test_bins_hold_every_value_once() -> None:
    values = [0.0, 0.049, 0.05, 0.0999, 0.1, 0.3, 0.5, 1.0, 1.99, 2.0, 9.99, 10.0, 600.0]
    found = bins(values)
    assert [each.count for each in found] == [2, 2, 1, 1, 1, 2, 1, 1, 2]
    assert [each.told for each in found][::4] == ["0 to 50 ms", "0.5 to 1 s", "10 s or more"]


def test_times_are_summed_up_for_each_kind_of_fault() -> None:
    freeze = replace_kind(fault(2, "replica-1", 0), "freeze")
    after = [
        Takeover("a", 1, number, at(0), "b", 2, 0.1, first)
        for number, first in ((1, 0.1), (1, 0.3), (2, 3.0), (None, 0.5), (1, None))
    ]
    kill, frozen, none = by_kind(after, {1: fault(1, "replica-1", 0), 2: freeze})
    assert (kill.name, kill.takeovers, frozen.name, none.name) == ("kill", 3, "freeze", NO_FAULT)
    assert kill.spread is not None
    assert kill.spread.count == 2
    assert kill.spread.median_s == pytest.approx(0.2)


def replace_kind(of: Fault, kind: str) -> Fault:
    of.kind = kind
    return of
