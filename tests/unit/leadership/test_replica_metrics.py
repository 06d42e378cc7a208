"""What a replica shows: how late it is and how much it carries, and only of its own term."""

from uuid import UUID

from prometheus_client import CollectorRegistry

from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.ports.term import Term

TERM = Term(number=1, uid=UUID(int=1), scope=0, holder="replica-1#aa", election_revision=1)
LAG = "middleman_due_lag_seconds"


def test_a_claim_does_not_hide_what_has_not_been_claimed() -> None:
    registry = CollectorRegistry()
    metrics = ReplicaMetrics(registry)
    metrics.term_started(TERM, 0.0, 0.0)
    metrics.lags_measured({"due": 400.0, "retry": 7.0})
    metrics.claimed("due", 500, 1.0, 0.01)
    assert registry.get_sample_value(LAG, {"kind": "due"}) == 400
    assert registry.get_sample_value(LAG, {"kind": "retry"}) == 7


def test_the_lag_ends_with_the_term_and_a_late_measurement_revives_nothing() -> None:
    registry = CollectorRegistry()
    metrics = ReplicaMetrics(registry)
    metrics.term_started(TERM, 0.0, 0.0)
    metrics.lags_measured({"due": 400.0, "retry": 0.0})
    metrics.term_ended(TERM, "lost", 1.0, 1.0)
    assert registry.get_sample_value(LAG, {"kind": "due"}) == 0
    metrics.lags_measured({"due": 500.0, "retry": 0.0})
    assert registry.get_sample_value(LAG, {"kind": "due"}) == 0


def test_the_bound_of_what_is_in_flight_stands_beside_it() -> None:
    registry = CollectorRegistry()
    ReplicaMetrics(registry).may_carry(300)
    assert registry.get_sample_value("middleman_attempts_in_flight_limit") == 300


def test_a_missing_pulse_and_foreign_members_are_shown_until_they_are_gone() -> None:
    registry = CollectorRegistry()
    metrics = ReplicaMetrics(registry)
    for missing, foreign in ((True, 2), (False, 0)):
        metrics.pulse_missing(missing)
        metrics.foreign_members(foreign)
        assert registry.get_sample_value("middleman_pulse_missing") == missing
        assert registry.get_sample_value("middleman_etcd_members_foreign") == foreign
