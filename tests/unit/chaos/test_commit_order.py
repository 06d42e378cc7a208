"""I4 says what it could not look at: a write without a commit timestamp is in no order."""

from tests.support.doctored import WRITES, books, ledger

from chaos.judge.books import Books, Fence
from chaos.judge.judging import judge_snapshot
from chaos.judge.verdict import InvariantResult


def i4(here: Books) -> InvariantResult:
    return judge_snapshot(ledger(), here, require_rest=True).invariants[3]


def test_with_no_commit_timestamp_at_all_the_order_was_not_checked() -> None:
    result = i4(books(write_runs=(), untracked_writes=24))
    assert result.unchecked
    assert result.note == "not checked: none of 24 writes has a commit timestamp any more"


def test_a_wrong_fence_is_seen_whether_or_not_the_order_was_checked() -> None:
    result = i4(books(write_runs=(), untracked_writes=24, fences=(Fence(0, 1, "uid-1"),)))
    assert not result.holds
    assert not result.unchecked, "who found something has looked"


def test_writes_that_are_too_old_are_counted_beside_those_that_were_checked() -> None:
    result = i4(books(untracked_writes=6))
    assert result.holds
    assert not result.unchecked
    assert result.checked == sum(run.writes for run in WRITES) + 2
    assert result.note == "6 of 30 writes have no commit timestamp any more: their order was not checked"


def test_where_nothing_was_written_nothing_is_left_unchecked() -> None:
    assert not i4(books(write_runs=())).unchecked
