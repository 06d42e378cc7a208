"""The timing rules, and that their messages say what to change."""

import dataclasses

import pytest

from middleman.leadership.timing import (
    LeaseTiming,
    LifeTiming,
    election_timeout_errors,
    granted_ttl_error,
    lease_errors,
    life_errors,
    minimum_lease_ttl_s,
)


def test_the_defaults_obey_their_own_rules() -> None:
    assert lease_errors(LeaseTiming()) == ()
    assert life_errors(LifeTiming(), LeaseTiming(), processor_call_timeout_s=10.0) == ()
    assert election_timeout_errors(LeaseTiming(), election_timeout_s=0.5) == ()


def test_five_seconds_fit_etcds_default_timing() -> None:
    assert lease_errors(LeaseTiming(lease_ttl_s=5)) == ()
    assert election_timeout_errors(LeaseTiming(lease_ttl_s=5), election_timeout_s=1.0) == ()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lease_ttl_s": 0}, "lease_ttl_s is 0"),
        ({"lease_ttl_s": 2.5}, "whole seconds"),
        ({"margin_s": 0.0}, "margin_s is 0.0"),
        ({"margin_s": 1.5}, "below half of lease_ttl_s"),
        ({"rpc_timeout_s": 0.75}, "keep-alive interval"),
        ({"margin_s": 1.2, "rpc_timeout_s": 0.7}, "no room for a renewal that fails"),
        ({"hedge_s": 0.6}, "hedge_s is 0.6"),
        ({"call_budget_s": 0.4}, "call_budget_s is 0.4"),
        ({"verify_interval_s": 4.0}, "verify_interval_s is 4.0"),
    ],
)
def test_a_lease_that_cannot_be_kept_is_refused_by_name(change: dict[str, float], named: str) -> None:
    timing = dataclasses.replace(LeaseTiming(), **change)  # type: ignore[arg-type]  # wrong values are the point
    assert named in "; ".join(lease_errors(timing))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"drain_s": 5.0}, "at least processor_call_timeout_s"),
        ({"drain_s": 0.0}, "drain_s is 0.0: it must be above 0"),
        ({"office_timeout_s": 3.0}, "may not outlast the trust"),
        ({"leave_timeout_s": -1.0}, "leave_timeout_s is -1.0"),
        ({"hard_stop_s": 0.0}, "hard_stop_s is 0.0"),
        ({"backoff_initial_s": 9.0}, "backoff_initial_s is 9.0"),
    ],
)
def test_a_life_that_contradicts_itself_is_refused_by_name(change: dict[str, float], named: str) -> None:
    life = dataclasses.replace(LifeTiming(), **change)
    assert named in "; ".join(life_errors(life, LeaseTiming(), processor_call_timeout_s=10.0))


@pytest.mark.parametrize(("election_timeout_s", "minimum_s"), [(0.1, 1), (0.5, 1), (1.0, 2), (5.0, 8)])
def test_the_shortest_lease_is_one_and_a_half_election_timeouts_rounded_up(
    election_timeout_s: float, minimum_s: int
) -> None:
    assert minimum_lease_ttl_s(election_timeout_s) == minimum_s


def test_a_ttl_below_etcds_floor_is_an_error_that_says_what_to_set() -> None:
    (error,) = election_timeout_errors(LeaseTiming(), election_timeout_s=5.0)
    assert "set lease_ttl_s to at least 8" in error
    assert error == granted_ttl_error(LeaseTiming(), granted_ttl_s=8)
