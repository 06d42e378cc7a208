"""What the demo shows: frames, lines, the crowd."""

import io
from collections import Counter
from datetime import UTC, datetime

import pytest
from rich.console import Console
from tests.support.doctored import books, ledger

from chaos.demo import plain
from chaos.demo.figures import ACTING, Figures, ReplicaFigure, Takeover, Tick
from chaos.demo.population import plans, subscribers
from chaos.demo.scenario import Scenario
from chaos.demo.ticker import money
from chaos.demo.view import chart, frame
from chaos.judge.judging import judge_snapshot
from chaos.report import verdict_table

NOW = datetime(2026, 12, 7, 14, 22, tzinfo=UTC)


def drawn(renderable: object, *, width: int = 80, height: int = 24) -> str:
    """As text, the way a terminal of that size shows it."""
    shown = io.StringIO()
    Console(width=width, height=height, file=shown, force_terminal=True, color_system=None).print(renderable)
    return shown.getvalue()


def busy() -> Figures:
    """A moment in the middle of a run."""
    figures = Figures(
        2000,
        phase=ACTING,
        elapsed_s=83.4,
        business_now=NOW,
        clock_rate=43_800,
        declines={f"sub_{number}": False for number in range(1432)},
        outcomes={"succeeded": 12_345, "declined": 321, "requires_action": 4},
        due=112,
    )
    figures.charges_per_s.extend([0, 100, 505])
    figures.replicas = [
        ReplicaFigure("replica-1", "dead", None, None),
        ReplicaFigure("replica-2", "leader", 4, 2412),
        ReplicaFigure("replica-3", "follower", None, 2413),
    ]
    figures.takeovers = [
        Takeover("replica-3", 1, NOW, 0, "replica-1", 2, 0.041, 3.41),
        Takeover("replica-1", 2, NOW, 0),
    ]
    figures.ticker.append(Tick(1, NOW, "replica-2 takes office: term 4", "term"))
    return figures


def test_a_frame_shows_the_whole_moment_on_the_smallest_terminal() -> None:
    picture = drawn(frame(busy()))
    assert len(picture.rstrip("\n").splitlines()) <= 24
    for expected in (
        *("7 December 2026 14:22", "30 days a minute", "01:23"),
        *("replica-2 leader term 4", "replica-1 dead", "replica-3 follower"),
        *("12,345 charges settled", "505 a second", "112 due now", "321 declined, 4 other"),
        *("replica-3 replica-1 41 ms", "3.4 s", "nobody"),
        *("replica-2 takes office", "1,432/2,000 subscribers"),
        "killed replica-1: the others take its lease away",
    ):
        assert expected in picture


def test_a_frame_before_anything_runs_shows_the_start() -> None:
    figures = Figures(10)
    figures.progress.append("postgres ready after 0.9 s")
    picture = drawn(frame(figures))
    assert "starting the servers" in picture
    assert "postgres ready after 0.9 s" in picture


def test_a_moment_without_a_leader_says_so() -> None:
    figures = busy()
    figures.replicas = [ReplicaFigure("replica-1", "follower", None, 1)]
    assert "nobody leads" in drawn(frame(figures))
    assert "nobody leads" in plain.line(figures)


def test_a_line_tells_the_whole_moment() -> None:
    line = plain.line(busy())
    assert "\n" not in line
    for expected in ("83.4 s", "1,432/2,000 subscribers", "12,345 charged (505/s)", "replica-2 leads term 4"):
        assert expected in line


@pytest.mark.parametrize(
    ("takeovers", "subscribed", "doing"),
    [
        ([], 1, "subscribing customers, charging what falls due"),
        ([], 2, "charging what falls due"),
        ([Takeover("replica-1", 1, NOW, 0, "replica-2", 2, 3.0)], 2, "charging what falls due"),
    ],
)
def test_the_phase_says_what_is_going_on(takeovers: list[Takeover], subscribed: int, doing: str) -> None:
    assert (
        Figures(
            2,
            phase=ACTING,
            declines=dict.fromkeys(["sub_1", "sub_2"][:subscribed], False),
            takeovers=takeovers,
        ).doing
        == doing
    )


def test_a_chart_fills_its_height_with_the_highest_value_and_shows_the_newest() -> None:
    assert chart([0, 1, 2], width=3) == ["  █", " ██"]
    assert chart([5, 0, 1, 2], width=3) == chart([0, 1, 2], width=3)
    assert chart([0, 0], width=5) == ["  ", "  "]
    assert chart([], width=5) == ["", ""]


def test_money_is_told_with_the_decimals_of_its_currency() -> None:
    assert [money(1299, "EUR"), money(1490, "JPY"), money(4500, "KWD")] == [
        "12.99 EUR",
        "1490 JPY",
        "4.500 KWD",
    ]


def test_the_same_seed_makes_the_same_crowd_and_another_seed_another() -> None:
    assert list(subscribers(200, 3)) == list(subscribers(200, 3)) != list(subscribers(200, 4))


def test_the_crowd_has_everything_that_hurts() -> None:
    crowd = list(subscribers(2000, 1))
    assert [draft.number for draft in crowd] == list(range(1, 2001))
    assert {plans()[draft.plan].interval_unit for draft in crowd} == {"day", "week", "month"}
    assert {plans()[draft.plan].currency for draft in crowd} >= {"EUR", "JPY", "KWD", "ISK"}
    assert len({draft.time_zone for draft in crowd}) > 3
    cards = Counter(draft.payment_method for draft in crowd)
    assert 20 < cards["pm_card_chargeCustomerFail"] < 120
    assert {draft.cancels for draft in crowd} == {None, "now", "period_end"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"subscribers": 0}, "subscribers=0"),
        ({"duration_s": 0.5}, "duration-s=0.5"),
        ({"kill_leader_every_s": 0.2}, "kill-leader-every-s=0.2"),
        ({"clock_rate": 0}, "clock-rate=0"),
    ],
)
def test_a_scenario_that_makes_no_sense_is_refused(changes: dict[str, float], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Scenario(**changes)  # type: ignore[arg-type]  # each value is of its field's type


def test_a_verdict_that_holds_is_told_with_its_counts() -> None:
    table = drawn(verdict_table(judge_snapshot(ledger(), books(), require_rest=True)), width=120)
    assert "the verdict holds · at rest: yes" in table
    assert "by the clock 6 billing periods of 2 subscriptions fell due; in the books: 6 paid" in table
    assert table.count("✓") == 8
    assert "○ I8" in table, "what nobody checked is not ticked off"


def test_a_verdict_that_does_not_hold_names_what_is_wrong() -> None:
    table = drawn(verdict_table(judge_snapshot(ledger(without="pi_sub_1_0"), books())), width=140)
    assert "THE VERDICT DOES NOT HOLD" in table
    assert "✗ I2" in table
    assert "in_1_0: is paid here, but pi_sub_1_0 is not in the ledger" in table
