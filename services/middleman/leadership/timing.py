"""The timing rules: which settings belong together, and what to say when they do not fit.

Pure checks that return readable errors, so that `settings` reports all of them at start-up and
nobody finds out during a failover. The figures behind the defaults are in ``DESIGN`` §6: with a TTL
of 3 s on etcd's ``--heartbeat-interval 50 --election-timeout 500`` no failover was needless when
etcd's own raft leader died; on etcd's default timing it takes a TTL of 5 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LeaseTiming:
    """How the lease is asked for, renewed and trusted. All in seconds.

    ``lease_ttl_s`` is whole seconds because etcd grants no others. ``margin_s`` is how much earlier
    than the lease trust ends: it has to cover the difference in clock *rates* and the time between
    the last look at the deadline and the request leaving the machine. ``rpc_timeout_s`` bounds one
    try at one member; ``call_budget_s`` bounds all tries of one call; after ``hedge_s`` without an
    answer the next member is asked as well. ``verify_interval_s`` is how often the election key is
    read even when no watch reports anything.
    """

    lease_ttl_s: int = 3
    margin_s: float = 0.25
    rpc_timeout_s: float = 0.5
    hedge_s: float = 0.1
    call_budget_s: float = 2.0
    verify_interval_s: float = 1.0

    @property
    def keepalive_interval_s(self) -> float:
        """A quarter of the TTL: two renewals in a row may fail and the third still is in time."""
        return self.lease_ttl_s / 4

    @property
    def trusted_s(self) -> float:
        """How long one renewal is trusted, from the moment before it was sent."""
        return self.lease_ttl_s - self.margin_s


@dataclass(frozen=True, slots=True)
class LifeTiming:
    """How patient a replica is between the steps of its life. All in seconds.

    ``office_timeout_s`` bounds taking office, ``leave_timeout_s`` the record that a term ended.
    ``drain_s`` is what calls in flight get on a graceful stop, ``hard_stop_s`` what a cancelled
    pipeline gets to unwind before the process gives itself up. ``backoff_*`` shape the pauses
    between candidacies.
    """

    office_timeout_s: float = 2.0
    leave_timeout_s: float = 0.5
    drain_s: float = 10.0
    hard_stop_s: float = 2.0
    backoff_initial_s: float = 0.1
    backoff_max_s: float = 5.0


def lease_errors(timing: LeaseTiming) -> tuple[str, ...]:
    """What is wrong with the lease's own timing; empty when nothing is."""
    found: list[str] = []
    ttl_s, interval_s = timing.lease_ttl_s, timing.keepalive_interval_s
    if ttl_s < 1 or ttl_s != int(ttl_s):
        found.append(f"lease_ttl_s is {ttl_s}: use whole seconds, at least 1")
    if not 0 < timing.margin_s < ttl_s / 2:
        found.append(
            f"margin_s is {timing.margin_s}: it must be above 0 and below half of lease_ttl_s ({ttl_s / 2:g})"
        )
    if not 0 < timing.rpc_timeout_s < interval_s:
        found.append(
            f"rpc_timeout_s is {timing.rpc_timeout_s}: it must be above 0 and below the keep-alive interval, "
            f"a quarter of lease_ttl_s ({interval_s:g}), or one hung answer delays the next renewal"
        )
    if 2 * interval_s + timing.rpc_timeout_s > timing.trusted_s:
        found.append(
            f"lease_ttl_s {ttl_s} with margin_s {timing.margin_s} and rpc_timeout_s {timing.rpc_timeout_s} "
            "leaves no room for a renewal that fails: raise lease_ttl_s or lower the other two"
        )
    if not 0 < timing.hedge_s <= timing.rpc_timeout_s:
        found.append(f"hedge_s is {timing.hedge_s}: it must be above 0 and at most rpc_timeout_s")
    if timing.call_budget_s < timing.rpc_timeout_s:
        found.append(f"call_budget_s is {timing.call_budget_s}: it must be at least rpc_timeout_s")
    if not 0 < timing.verify_interval_s <= ttl_s:
        found.append(
            f"verify_interval_s is {timing.verify_interval_s}: it must be above 0 and at most lease_ttl_s"
        )
    return tuple(found)


def life_errors(life: LifeTiming, lease: LeaseTiming, *, processor_call_timeout_s: float) -> tuple[str, ...]:
    """What is wrong between the replica's life, its lease and the processor's timeout."""
    found = [
        f"{name} is {value}: it must be above 0"
        for name, value in (
            ("office_timeout_s", life.office_timeout_s),
            ("leave_timeout_s", life.leave_timeout_s),
            ("drain_s", life.drain_s),
            ("hard_stop_s", life.hard_stop_s),
            ("processor_call_timeout_s", processor_call_timeout_s),
        )
        if value <= 0
    ]
    if life.office_timeout_s > lease.trusted_s:
        found.append(
            f"office_timeout_s is {life.office_timeout_s}: taking office may not outlast the trust of one "
            f"renewal (lease_ttl_s − margin_s = {lease.trusted_s:g})"
        )
    if life.drain_s < processor_call_timeout_s:
        found.append(
            f"drain_s is {life.drain_s}: it must be at least processor_call_timeout_s "
            f"({processor_call_timeout_s:g}), or a graceful stop cuts calls off with their outcome unknown"
        )
    if not 0 < life.backoff_initial_s <= life.backoff_max_s:
        found.append(
            f"backoff_initial_s is {life.backoff_initial_s}: it must be above 0 and at most "
            f"backoff_max_s ({life.backoff_max_s})"
        )
    return tuple(found)


def minimum_lease_ttl_s(election_timeout_s: float) -> int:
    """The shortest lease that etcd grants: ``ceil(3 × election timeout / 2)`` (etcd's ``minTTL``)."""
    return math.ceil(round(1.5 * election_timeout_s, 6))


def election_timeout_errors(lease: LeaseTiming, *, election_timeout_s: float) -> tuple[str, ...]:
    """Whether etcd's own timing, where it is known, allows our lease."""
    minimum_s = minimum_lease_ttl_s(election_timeout_s)
    if lease.lease_ttl_s >= minimum_s:
        return ()
    return (granted_ttl_error(lease, granted_ttl_s=minimum_s),)


def granted_ttl_error(lease: LeaseTiming, *, granted_ttl_s: float) -> str:
    """The message for a coordinator that raised the TTL it was asked for."""
    return (
        f"lease_ttl_s is {lease.lease_ttl_s}, but the coordinator grants no lease shorter than "
        f"{granted_ttl_s:g} s: set lease_ttl_s to at least {math.ceil(granted_ttl_s)}, or lower etcd's "
        "--election-timeout (the shortest lease is 1.5 times that)"
    )
