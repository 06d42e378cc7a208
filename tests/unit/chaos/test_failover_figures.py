"""What a measurement of failover says: statistics, histograms, stages, the report."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from tests.support.doctored import books, ledger

from chaos.failover.plan import Kind, Path, Plan
from chaos.failover.report import Report, figures, seconds, stage_values, told
from chaos.failover.spread import MAX_BINS, Spread, histogram, nearest_rank
from chaos.failover.timeline import TOTAL, Takeover
from chaos.failover.workload import spread_over_a_day
from chaos.judge.judging import judge_snapshot

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
DURATIONS = st.lists(st.floats(0.000_001, 100), min_size=1, max_size=200)


def drawn(picture: RenderableType) -> str:
    console = Console(width=100, force_terminal=False, color_system=None)
    with console.capture() as capture:
        console.print(picture)
    return capture.get()


def a_run(number: int, path: Path, total_s: float, **changes: Any) -> Takeover:
    stages = {"elected_s": total_s / 2, TOTAL: total_s}
    values: dict[str, Any] = {
        "number": number,
        "path": path,
        "victim": "replica-1",
        "victim_term": 7,
        "successor": "replica-2",
        "successor_term": 8,
        "struck_at": NOW,
        "stages": stages,
        "measured": {TOTAL: total_s - 0.01},
    }
    return Takeover(**(values | changes))


def a_report(*runs: Takeover, kind: Kind = Kind.CRASH, good: bool = True, **changes: Any) -> Report:
    verdict = judge_snapshot(ledger(without="" if good else "pi_sub_1_0"), books(), require_rest=True)
    values: dict[str, Any] = {
        "plan": Plan(kind=kind, runs=3),
        "lease_ttl_s": 3,
        "runs": runs,
        "verdict": verdict,
        "left_moving": "",
        "interrupted": False,
        "failure": "",
    }
    return Report(**(values | changes))


BOTH = [a_run(n, Path.PULSE, 0.08 + n / 100) for n in (1, 2, 3)] + [
    a_run(n, Path.LEASE_ONLY, 2.9 + n / 10) for n in (1, 2, 3)
]


def test_a_spread_names_the_four_figures() -> None:
    values = [number / 1000 for number in range(200, 0, -1)]
    assert Spread.of(values) == Spread(count=200, min_s=0.001, median_s=0.1005, p99_s=0.198, max_s=0.2)
    assert Spread.of([0.5]) == Spread(1, 0.5, 0.5, 0.5, 0.5)


def test_nothing_cannot_be_summarised() -> None:
    with pytest.raises(ValueError, match="no values"):
        Spread.of([])
    assert histogram([]) == []


@pytest.mark.parametrize(
    ("share", "rank"), [(0.0, 1), (0.01, 1), (0.011, 2), (0.5, 50), (0.99, 99), (0.991, 100), (1.0, 100)]
)
def test_the_nearest_rank_is_a_value_that_occurred(share: float, rank: int) -> None:
    assert nearest_rank(list(range(1, 101)), share) == rank


def test_the_99th_percentile_of_few_values_is_the_greatest() -> None:
    assert Spread.of([float(number) for number in range(20)]).p99_s == 19.0


@given(DURATIONS)
def test_a_histogram_counts_every_value_once_in_adjoining_bins(values: list[float]) -> None:
    bins = histogram(values)
    assert sum(each.count for each in bins) == len(values)
    assert len(bins) <= MAX_BINS + 1
    assert bins[0].count > 0
    assert bins[-1].count > 0
    assert bins[0].from_s <= min(values) + 1e-9
    assert bins[-1].to_s >= max(values) - 1e-9
    for before, after in pairwise(bins):
        assert before.to_s == pytest.approx(after.from_s)


def test_a_straggler_does_not_flatten_the_rest() -> None:
    values = [0.050 + number / 1000 for number in range(40)] + [3.0]
    *bins, last = histogram(values)
    assert len(bins) > 4
    assert sum(each.count for each in bins) == 40
    assert (last.count, last.to_s) == (1, 3.0)


def test_bins_have_round_widths() -> None:
    widths = {
        round(each.to_s - each.from_s, 6) for each in histogram([0.020 + number / 100 for number in range(9)])
    }
    assert widths == {0.01}


def test_durations_are_told_in_the_unit_that_fits() -> None:
    assert [seconds(value) for value in (0.0834, 0.9994, 0.9996, 3.021)] == [
        "83 ms",
        "999 ms",
        "1.00 s",
        "3.02 s",
    ]


def test_a_run_is_told_on_one_line_with_needless_terms_if_there_were_any() -> None:
    plan = Plan(kind=Kind.CRASH, runs=3)
    assert told(BOTH[0], plan) == ("crash 1/3 (pulse): replica-1 -> replica-2, term 8: charges after 90 ms")
    needless = a_run(2, Path.LEASE_ONLY, 3.0, successor_term=10)
    assert needless.needless_terms == 2
    assert "term 10, 2 needless in between: charges after 3.00 s" in told(needless, plan)


def test_a_stage_that_did_not_occur_is_left_out_and_the_others_keep_their_order() -> None:
    runs = [a_run(1, Path.PULSE, 0.1, stages={TOTAL: 0.1, "noticed_s": 0.01}), a_run(2, Path.PULSE, 0.2)]
    assert list(stage_values(runs, Path.PULSE).items()) == [
        ("noticed_s", [0.01]),
        ("elected_s", [0.1]),
        (TOTAL, [0.1, 0.2]),
    ]
    assert stage_values(runs, Path.LEASE_ONLY) == {}


def test_the_ratio_compares_the_medians_of_both_paths() -> None:
    assert a_report(*BOTH).ratio == pytest.approx(3.1 / 0.1)
    assert a_report(*BOTH[:3]).ratio is None


def test_the_report_shows_each_path_each_stage_and_the_ratio() -> None:
    picture = drawn(figures(a_report(*BOTH)))
    for expected in (
        *("crash, pulse: 3 runs, 3 replicas, lease 3 s, about 100 charges a second", "crash, lease-only:"),
        *("successor elected", "first charge settled", "100 ms", "3.10 s"),
        "without the pulse it takes 31.0 times as long",
    ):
        assert expected in picture
    assert "interrupted" not in picture


def test_what_went_wrong_stands_in_the_report() -> None:
    picture = drawn(
        figures(a_report(interrupted=True, failure="nobody charges", left_moving="3 due, 0 attempts open"))
    )
    for expected in (
        "interrupted: the remaining",
        "FAILED: nobody charges",
        "NOT at rest when judged: 3 due",
    ):
        assert expected in picture


def test_the_json_has_every_run_and_the_spread_of_every_stage() -> None:
    told = a_report(*BOTH).to_json()
    assert told["holds"]
    assert told["plan"]["kind"] == "crash"
    assert told["paths"]["pulse"][TOTAL] == {
        "count": 3,
        "min_s": 0.09,
        "median_s": 0.1,
        "p99_s": 0.11,
        "max_s": 0.11,
    }
    assert told["paths"]["lease-only"]["elected_s"]["median_s"] == 1.55
    assert told["measured"]["pulse"][TOTAL]["median_s"] == 0.09
    assert told["runs"][0]["measured"] == {TOTAL: 0.08}
    assert told["ratio"] == 31.0
    assert [run["stages"][TOTAL] for run in told["runs"]] == [0.09, 0.1, 0.11, 3.0, 3.1, 3.2]
    assert told["runs"][0]["struck_at"] == "2026-11-23T12:00:00+00:00"
    assert told["runs"][0]["needless_terms"] == 0
    assert told["verdict"]["holds"]


@pytest.mark.parametrize(
    ("changes", "holds"), [({}, True), ({"failure": "x"}, False), ({"good": False}, False)]
)
def test_a_measurement_holds_if_the_verdict_does_and_every_run_ended(
    changes: dict[str, Any], holds: bool
) -> None:
    assert a_report(*BOTH, **changes).holds is holds


@pytest.mark.parametrize(
    ("kind", "lease_only", "paths"),
    [
        (Kind.CRASH, False, (Path.PULSE, Path.LEASE_ONLY)),
        (Kind.CRASH, True, (Path.LEASE_ONLY,)),
        (Kind.FREEZE, False, (Path.PULSE,)),
        (Kind.GRACEFUL, True, (Path.LEASE_ONLY,)),
    ],
)
def test_only_a_crash_is_measured_on_both_paths(
    kind: Kind, lease_only: bool, paths: tuple[Path, ...]
) -> None:
    assert Plan(kind=kind, lease_only=lease_only).paths == paths


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"runs": 0}, "runs=0"),
        ({"replicas": 1}, "or nobody takes over"),
        ({"subscriptions": 0}, "subscriptions=0"),
        ({"clock_rate": 0}, "clock_rate=0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Plan(kind=Kind.CRASH, **changes)


def test_subscriptions_fall_due_evenly_over_a_day_and_none_at_once() -> None:
    anchors = list(spread_over_a_day(NOW, 200))
    assert anchors[0] - NOW == timedelta(seconds=432)
    assert {after - before for before, after in pairwise(anchors)} == {timedelta(seconds=432)}
    assert anchors[-1] - NOW == timedelta(days=1)
    assert Plan(kind=Kind.CRASH).charges_per_s == 100
