"""Cursors lead back to where the page ended, and nothing else passes for one."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleman.entrypoints.api.pagination import (
    created_after,
    next_by_creation,
    next_by_number,
    number_after,
)
from middleman.entrypoints.api.problems import Problem
from middleman.ports.records import CreatedPosition


def test_a_cursor_leads_back_to_its_position() -> None:
    position = CreatedPosition(datetime(2026, 1, 31, 9, 0, 0, 123456, tzinfo=UTC), "in_abc_12")
    assert created_after(next_by_creation(position)) == position
    assert number_after(next_by_number(2**63 - 1)) == 2**63 - 1


def test_no_cursor_is_the_beginning() -> None:
    assert (created_after(None), number_after(None)) == (None, None)


@given(st.text(min_size=1, max_size=200))
def test_made_up_cursors_are_refused_by_every_kind_of_list(cursor: str) -> None:
    for read in (created_after, number_after):
        with pytest.raises(Problem) as refused:
            read(cursor)
        assert (refused.value.status, refused.value.slug) == (400, "bad-cursor")


@pytest.mark.parametrize(
    ("read", "cursor"),
    [
        (number_after, next_by_creation(CreatedPosition(datetime(2026, 1, 1, tzinfo=UTC), "cu_x"))),
        (created_after, next_by_number(7)),
        (number_after, next_by_number(2**63)),
        (number_after, next_by_number(-1)),
        (
            created_after,
            next_by_creation(CreatedPosition(datetime(2026, 1, 1, tzinfo=UTC), "cu_'; DROP TABLE customers")),
        ),
        (created_after, next_by_creation(CreatedPosition(datetime(2026, 1, 1), "in_a_1"))),  # noqa: DTZ001  # naive on purpose
    ],
)
def test_a_cursor_of_another_list_or_out_of_bounds_is_refused(read, cursor: str) -> None:  # type: ignore[no-untyped-def]  # three readers with three results
    with pytest.raises(Problem):
        read(cursor)
