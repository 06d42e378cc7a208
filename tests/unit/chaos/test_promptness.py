"""I8: what is late, what was held up by a fault, and how real instants follow from pieces of the test clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.doctored import (
    CREATED_AT,
    INVOICES,
    LEDGER_READ_BEGAN,
    NOW,
    SUBSCRIPTIONS,
    books,
    books_with,
    ledger,
    subscription,
)

from chaos.judge.books import Books
from chaos.judge.judging import judge_snapshot
from chaos.judge.promptness import ClockPiece, Promptness, Window
from chaos.judge.verdict import InvariantResult

REAL = datetime(2026, 11, 23, 11, tzinfo=UTC)
BUSINESS = datetime(2026, 1, 1, tzinfo=UTC)
DAY_A_SECOND = 86_400.0
STOPPED = ClockPiece(LEDGER_READ_BEGAN - timedelta(seconds=60), NOW, 0)


def s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def prompt(*clock: ClockPiece, faults: tuple[Window, ...] = (), budget_s: float = 7.0) -> Promptness:
    """A lease of 3 s; without pieces, the clock of the doctored books, which stood still at `NOW` all the time."""
    return Promptness(budget_s=budget_s, lease_ttl_s=3.0, faults=faults, clock=clock or (STOPPED,))


def i8(books: Books, promptness: Promptness | None, *, require_rest: bool = False) -> InvariantResult:
    verdict = judge_snapshot(ledger(), books, require_rest=require_rest, promptness=promptness)
    [result] = [result for result in verdict.invariants if result.name == "I8"]
    return result


def with_outcome(at: datetime | None) -> Books:
    """Created at `CREATED_AT`, all three periods due at once; one has its first outcome at another instant."""
    return books_with(replace(INVOICES[0], first_outcome_at=at))


# The test clock.


def test_business_time_follows_the_pieces() -> None:
    clock = prompt(
        ClockPiece(REAL, BUSINESS, 1.0),
        ClockPiece(REAL + s(10), BUSINESS + timedelta(days=30), DAY_A_SECOND),
        ClockPiece(REAL + s(20), BUSINESS + timedelta(days=40), 0.0),
    )
    assert clock.business_time(REAL - s(5)) == BUSINESS - s(5)
    assert clock.business_time(REAL + s(9)) == BUSINESS + s(9)
    assert clock.business_time(REAL + s(15)) == BUSINESS + timedelta(days=35)
    assert clock.business_time(REAL + s(500)) == BUSINESS + timedelta(days=40)


@pytest.mark.parametrize(
    ("business", "real_s"),
    [
        (BUSINESS - timedelta(days=1), 0.0),  # before the first piece: due when it began
        (BUSINESS, 0.0),
        (BUSINESS + s(4), 4.0),
        (BUSINESS + s(10), 10.0),  # exactly when the clock was advanced
        (BUSINESS + timedelta(days=7), 10.0),  # the clock jumped over it
        (BUSINESS + timedelta(days=30), 10.0),
        (BUSINESS + timedelta(days=33), 13.0),
        (BUSINESS + timedelta(days=40), 20.0),
        (BUSINESS + timedelta(days=40) + s(1), 50.0),  # the clock stood still for half a minute
        (BUSINESS + timedelta(days=41), 50.0 + 86_399),
    ],
)
def test_a_business_instant_fell_due_at_one_real_instant(business: datetime, real_s: float) -> None:
    clock = prompt(
        ClockPiece(REAL, BUSINESS, 1.0),
        ClockPiece(REAL + s(10), BUSINESS + timedelta(days=30), DAY_A_SECOND),
        ClockPiece(REAL + s(20), BUSINESS + timedelta(days=40), 0.0),
        ClockPiece(REAL + s(50), BUSINESS + timedelta(days=40) + s(1), 1.0),
    )
    assert clock.fell_due(business) == REAL + s(real_s)


def test_behind_a_clock_that_stands_still_nothing_falls_due() -> None:
    assert prompt(ClockPiece(REAL, BUSINESS, 0.0)).fell_due(BUSINESS + s(1)) is None


def test_a_business_instant_beyond_the_calendar_never_falls_due() -> None:
    clock = prompt(ClockPiece(REAL, BUSINESS, 0.0001))
    assert clock.fell_due(datetime(9999, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"budget_s": 0.0},
        {"lease_ttl_s": -1.0},
        {"clock": ()},
        {"clock": (ClockPiece(REAL, BUSINESS, -1.0),)},
        {"clock": (ClockPiece(REAL, BUSINESS, 1.0), ClockPiece(REAL - s(1), BUSINESS, 1.0))},
        {"faults": ((REAL, REAL - s(1)),)},
        {"budget_s": float("nan")},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r": "):
        replace(prompt(), **wrong)  # type: ignore[arg-type]  # wrong on purpose


# Deadlines, with ten seconds allowed.


@pytest.mark.parametrize(
    ("faults", "deadline_s"),
    [
        ((), 10),
        (((-20, -1),), 10),  # over before it fell due
        (((-20, 5),), 15),
        (((3, 5),), 15),
        (((9, 30),), 34),  # one second of it was left
        (((11, 30),), 10),  # it was late already
        (((2, 5), (14, 20)), 24),  # one after the other, and one second was left between
        (((2, 5), (16, 20)), 10 + 5),
        (((1, 50), (2, 5)), 60),  # one within the other
        (((-30, -20), (-15, 4)), 14),
        (((-20, -1), (1, 5)), 15),
    ],
)
def test_a_fault_takes_its_own_time_and_a_lease_from_what_is_allowed(
    faults: tuple[tuple[float, float], ...], deadline_s: float
) -> None:
    windows = tuple((REAL + s(since), REAL + s(until)) for since, until in faults)
    assert prompt(faults=windows).deadline(REAL) == REAL + s(deadline_s)
    assert prompt(faults=windows[::-1]).deadline(REAL) == REAL + s(deadline_s), "in any order"


def test_a_mix_that_never_pauses_for_long_excuses_nobody_until_its_end() -> None:
    """Each fault lasts 5 s, and 6 s lie between: of those 3 count."""
    mix = prompt(faults=tuple((REAL + s(at), REAL + s(at + 5)) for at in range(0, 600, 11)))
    assert mix.deadline(REAL) == REAL + s(31), "8 to 11, 19 to 22, and a second after 30"
    assert mix.deadline(REAL + s(302)) < REAL + s(340)


def test_what_lies_in_a_fault_or_shortly_after_it_is_disturbed() -> None:
    mix = prompt(faults=((REAL, REAL + s(5)), (REAL + s(20), REAL + s(21))))
    assert not mix.disturbed(REAL - s(9), REAL)
    assert mix.disturbed(REAL - s(9), REAL + s(1))
    assert mix.disturbed(REAL + s(7), REAL + s(9)), "within the lease"
    assert not mix.disturbed(REAL + s(8), REAL + s(20))
    assert mix.disturbed(REAL + s(8), REAL + s(40))
    assert not prompt().disturbed(REAL, REAL + s(40))


# The verdict.


def test_without_a_run_it_holds_unchecked_and_says_why() -> None:
    result = i8(books(), None)
    assert result.holds
    assert result.checked == 0
    assert "not checked" in result.note


def test_what_is_settled_in_time_is_checked_period_by_period() -> None:
    result = i8(books(), prompt(), require_rest=True)
    assert result.holds
    assert result.checked == 6
    assert result.note == "6 met no fault, slowest 10.00 s of 10.00 s"


def test_who_waited_through_a_fault_is_counted_apart_and_not_called_quick() -> None:
    """It took eleven seconds in all, of which five count: the fault and the lease after it took six.

    The later periods of the two subscriptions wait for none of it: they fall due when the first one is settled.
    """
    fault = (CREATED_AT + s(1), CREATED_AT + s(4))
    result = i8(with_outcome(CREATED_AT + s(11)), prompt(faults=(fault,)))
    assert result.holds
    assert result.note == (
        "4 met no fault, slowest 0.00 s of 10.00 s; "
        "2 waited through faults, whose time is not counted: longest 11.00 s in all"
    )
    over = (CREATED_AT - s(30), CREATED_AT - s(20))
    assert i8(books(), prompt(faults=(over,))).note == "6 met no fault, slowest 10.00 s of 10.00 s"


def test_an_outcome_after_the_deadline_is_a_violation() -> None:
    deadline = CREATED_AT + s(10)
    assert i8(with_outcome(deadline), prompt()).holds
    late = i8(with_outcome(deadline + s(2.5)), prompt())
    assert not late.holds
    [violation] = late.violations
    assert violation.subject == SUBSCRIPTIONS[0].id
    assert "2.50 s after its deadline" in violation.detail


def test_a_declared_fault_excuses_the_same_delay() -> None:
    late = with_outcome(CREATED_AT + s(12))
    fault = (CREATED_AT + s(1), CREATED_AT + s(4))
    assert not i8(late, prompt()).holds
    assert i8(late, prompt(faults=(fault,))).holds
    assert not i8(late, prompt(faults=((fault[0] - s(9), fault[0]),))).holds, "it ended long before"


def test_a_period_without_an_outcome_is_pending_until_its_deadline() -> None:
    due = LEDGER_READ_BEGAN - s(4)
    young = replace(
        with_outcome(None),
        subscriptions={
            each.id: subscription(number, created_at=due) for number, each in enumerate(SUBSCRIPTIONS, 1)
        },
    )
    result = i8(young, prompt())
    assert result.holds
    assert (result.checked, result.total_pending) == (6, 1)
    assert not i8(young, prompt(), require_rest=True).holds
    assert not i8(young, prompt(budget_s=1.0)).holds, "five seconds have passed, four were allowed"


def test_any_number_of_periods_behind_an_unpaid_one_are_not_due_yet() -> None:
    due = LEDGER_READ_BEGAN - s(3600)
    first = replace(
        INVOICES[0],
        status="open",
        settled_at=None,
        charge_id=None,
        last_attempt="declined",
        first_outcome_at=due,
    )
    others = [invoice for invoice in INVOICES if invoice.subscription_id != first.subscription_id]
    long_ago = {each.id: subscription(number, created_at=due) for number, each in enumerate(SUBSCRIPTIONS, 1)}
    waiting = replace(books(invoices=(first, *others)), subscriptions=long_ago)
    late = {violation.subject for violation in i8(waiting, prompt()).violations}
    assert first.subscription_id not in late


def test_a_period_that_was_never_billed_is_late_too() -> None:
    unbilled = books(invoices=INVOICES[1:])
    result = i8(unbilled, prompt())
    assert not result.holds
    assert result.violations[0].subject == SUBSCRIPTIONS[0].id
    assert "period 0 fell due" in result.violations[0].detail


def test_periods_due_before_the_subscription_existed_are_due_when_it_is_made() -> None:
    born_late = {
        each.id: subscription(number, created_at=INVOICES[0].first_outcome_at)
        for number, each in enumerate(SUBSCRIPTIONS, 1)
    }
    result = i8(replace(books(), subscriptions=born_late), prompt())
    assert result.holds
    assert result.note.startswith("6 met no fault, slowest 0.00 s")


def test_a_clock_that_was_told_wrong_is_a_violation_instead_of_a_guess() -> None:
    another = replace(STOPPED, business_from=NOW - timedelta(days=1))
    for pieces in ((another,), (STOPPED, ClockPiece(LEDGER_READ_BEGAN, NOW, 1.0))):
        result = i8(books(), prompt(*pieces))
        assert not result.holds
        assert [finding.subject for finding in result.violations] == ["test clock"]
        assert result.checked == 0
