"""The replica's Prometheus metrics: an observer of its life and of its billing."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from middleman.adapters.system_clock import SystemClock
from middleman.billing.clock_check import ClockName
from middleman.leadership.observer import Role
from middleman.leadership.takeover import Measured, Stage, TakeoverWatch
from middleman.ports.coordinator import Election
from middleman.ports.term import Term

_CALL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WAITING_FOR_WORK = frozenset({Stage.CLAIMED, Stage.CHARGED})
_KINDS = ("due", "retry")
_FAILOVER_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 30)


class ReplicaMetrics:
    """Implements `leadership.observer.Observer` and `billing.observer.BillingObserver`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def histogram(
            name: str, text: str, labels: tuple[str, ...] = (), failover: bool = False
        ) -> Histogram:
            buckets = _FAILOVER_BUCKETS if failover else _CALL_BUCKETS
            return Histogram(f"middleman_{name}", text, labels, buckets=buckets, registry=registry)

        def counter(name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
            return Counter(f"middleman_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
            return Gauge(f"middleman_{name}", text, labels, registry=registry)

        self._role = gauge("replica_role", "1 for the role this replica is in", ("role",))
        self._leader = gauge("leader", "1 while this replica leads")
        self._term = gauge("term", "Number of the term this replica leads, 0 when it does not")
        self._elections = counter("elections_won_total", "Elections won")
        self._election_s = histogram("election_wait_seconds", "From candidacy to election", failover=True)
        self._office_s = histogram("office_seconds", "From election to the term's start", failover=True)
        self._revoked_s = histogram(
            "leader_revoked_seconds", "From a leader's broken pulse to the end of its lease", failover=True
        )
        self._terms_ended = counter("terms_ended_total", "Terms ended")
        self._term_s = gauge("last_term_seconds", "How long the last term of this replica lasted")
        self._recovery_s = histogram(
            "recovery_seconds", "From the term's start to the end of recovery", failover=True
        )
        self._recovered = counter("attempts_recovered_total", "Open attempts found by recovery")
        self._takeover_s = histogram(
            "takeover_seconds",
            "From winning the election to the first attempt settled in the term",
            failover=True,
        )
        self._stage_s = histogram(
            "takeover_stage_seconds",
            "From the first sign that the leader was lost to this stage of taking over from it",
            ("stage",),
            failover=True,
        )
        self._claimed = counter("attempts_claimed_total", "Attempts opened", ("kind",))
        self._claim_s = histogram("claim_seconds", "One claim statement", ("kind",))
        self._lag_s = gauge(
            "due_lag_seconds",
            "How late the oldest debt is that nobody has claimed, in business time",
            ("kind",),
        )
        self._call_s = histogram("processor_call_seconds", "Calls to the processor", ("step", "result"))
        self._flush_s = histogram("flush_seconds", "One fenced transaction", ("stage",))
        self._flushed = counter("flushed_items_total", "Items written by fenced transactions", ("stage",))
        self._outcomes = counter("attempts_settled_total", "Attempts settled", ("outcome",))
        self._unknown = counter("attempts_unknown_total", "Times that an outcome became unknown", ("reason",))
        self._parkings = counter(
            "attempts_parkings_total", "Times that an attempt was parked without an answer", ("reason",)
        )
        self._parked = gauge("attempts_parked", "Open attempts that wait in the database for their next try")
        self._parked_s = gauge("oldest_parked_seconds", "Age of the oldest of them")
        self._looks = counter(
            "notices_looked_into_total", "Notices of the processor that were looked into", ("finding",)
        )
        self._set_aside = gauge("subscriptions_set_aside", "Subscriptions that the database cannot bill")
        self._held = gauge(
            "subscriptions_held", "Subscriptions with more periods overdue than are caught up unasked"
        )
        self._retries_set_aside = gauge("invoices_set_aside", "Invoices whose retry the database refused")
        self._refused_us = counter(
            "operator_faults_total",
            "Calls that the processor refused for the operator's sake, whoever pays",
            ("step", "code"),
        )
        self._breaker = gauge(
            "breaker_open",
            "1 while calls of this step are paused because the processor refuses us",
            ("step",),
        )
        self._clock_ahead = gauge(
            "clock_ahead_seconds",
            "How far the clock of the database or the processor is ahead of this replica's, while it leads",
            ("clock",),
        )
        self._clocks_apart = gauge(
            "clocks_apart",
            "1 for the clock that differs from the others, so that nothing new is claimed",
            ("clock",),
        )
        self._in_flight = gauge("attempts_in_flight", "Attempts between claim and settle")
        self._in_flight_limit = gauge("attempts_in_flight_limit", "How many of them there may be")
        self._unanswered = gauge("attempts_unanswered", "Attempts in flight that got no definite answer yet")
        self._slots = gauge(
            "call_slots", "Calls to the processor allowed at once: fewer while the event loop is late"
        )
        self._store_away = counter(
            "store_unavailable_total", "Transactions repeated because the database was away"
        )
        self._pulse_missing = gauge(
            "pulse_missing",
            "1 while this follower cannot hold a connection to the leader, so that take-over is slow",
        )
        self._foreign_members = gauge(
            "etcd_members_foreign", "Endpoints of another etcd cluster, which are left out"
        )
        self.clocks_apart(None)
        self.role = Role.CANDIDATE
        self.term: Term | None = None
        self._takeover = TakeoverWatch(SystemClock(), self._taken_over)

    # The replica's life ---------------------------------------------------------------------------

    def role_changed(self, role: Role, at_s: float) -> None:
        """Show the role."""
        self.role = role
        for other in Role:
            self._role.labels(other.value).set(other is role)
        self._leader.set(role is Role.LEADER)

    def election_won(self, election: Election, waited_s: float, at_s: float) -> None:
        """Count the election."""
        self._takeover.elected(election, at_s)
        self._elections.inc()
        self._election_s.observe(waited_s)

    def term_started(self, term: Term, office_s: float, at_s: float) -> None:
        """Show the term."""
        self.term = term
        self._term.set(term.number)
        self._office_s.observe(office_s)
        self._takeover.in_office(term, at_s)

    def term_ended(self, term: Term, reason: str, lasted_s: float, at_s: float) -> None:
        """Take the term away."""
        self.term = None
        self._term.set(0)
        self.in_flight(0, 0)
        self._show_withheld(0, 0, 0)
        self.clocks_apart(None)
        self._clock_ahead.clear()
        self._show_parked(0, 0.0)
        self._show_lags(dict.fromkeys(_KINDS, 0.0))
        self._terms_ended.inc()
        self._term_s.set(lasted_s)
        self._takeover.ended()

    def pulse_felt(self) -> None:
        """A leader lives."""
        self._takeover.pulse_felt()

    def pulse_broken(self, broke_s: float, at_s: float) -> None:
        """A leader died."""
        self._takeover.pulse_broken(broke_s, at_s)

    def leader_revoked(self, took_s: float, at_s: float) -> None:
        """Count a dead leader that we noticed."""
        self._revoked_s.observe(took_s)
        self._takeover.leader_revoked(at_s)

    def pulse_missing(self, missing: bool) -> None:
        """Show whether a leader's death would be noticed by its lease only."""
        self._pulse_missing.set(missing)

    def foreign_members(self, count: int) -> None:
        """Show how many endpoints lead to another etcd."""
        self._foreign_members.set(count)

    def _taken_over(self, measured: Measured) -> None:
        for stage, since_lost_s in measured.stages.items():
            if not (measured.idle and stage in _WAITING_FOR_WORK):
                self._stage_s.labels(stage.value).observe(since_lost_s)
        if not measured.idle:
            self._takeover_s.observe(measured.stages[Stage.CHARGED] - measured.stages[Stage.ELECTED])

    # Billing --------------------------------------------------------------------------------------

    def recovered(self, attempts: int, took_s: float) -> None:
        """Count what a predecessor left."""
        self._recovered.inc(attempts)
        self._recovery_s.observe(took_s)
        self._takeover.recovered()

    def claimed(self, kind: str, attempts: int, lag_s: float, took_s: float) -> None:
        """Count a claim. `lag_s` is of what it took; `lags_measured` tells of what nobody has taken."""
        self._claimed.labels(kind).inc(attempts)
        self._claim_s.labels(kind).observe(took_s)
        self._takeover.claimed(kind, attempts)

    def lags_measured(self, lags_s: Mapping[str, float]) -> None:
        """Show how late the oldest debt of each kind is, unless the term ended while it was being measured."""
        if self.term is not None:
            self._show_lags(lags_s)

    def _show_lags(self, lags_s: Mapping[str, float]) -> None:
        for kind, lag_s in lags_s.items():
            self._lag_s.labels(kind).set(lag_s)

    def called(self, step: str, result: str, took_s: float) -> None:
        """Time a call."""
        self._call_s.labels(step, result).observe(took_s)

    def flushed(self, stage: str, items: int, took_s: float) -> None:
        """Time a transaction."""
        self._flush_s.labels(stage).observe(took_s)
        self._flushed.labels(stage).inc(items)

    def settled(self, outcome: str) -> None:
        """Count an outcome; the first of a term ends the take-over."""
        self._takeover.settled()
        self._outcomes.labels(outcome).inc()

    def became_unknown(self, reason: str) -> None:
        """Count a doubt."""
        self._unknown.labels(reason).inc()

    def parked(self, reason: str) -> None:
        """Count an attempt that was parked."""
        self._parkings.labels(reason).inc()

    def parked_measured(self, count: int, oldest_s: float) -> None:
        """Show what is parked, unless the term ended while it was being measured."""
        if self.term is not None:
            self._show_parked(count, oldest_s)

    def _show_parked(self, count: int, oldest_s: float) -> None:
        self._parked.set(count)
        self._parked_s.set(oldest_s)

    def looked(self, finding: str) -> None:
        """Count a look at what a webhook told of."""
        self._looks.labels(finding).inc()

    def withheld_measured(self, set_aside: int, held: int, invoices: int) -> None:
        """Show what is due and withheld, unless the term ended while it was being measured."""
        if self.term is not None:
            self._show_withheld(set_aside, held, invoices)

    def _show_withheld(self, set_aside: int, held: int, invoices: int) -> None:
        self._set_aside.set(set_aside)
        self._held.set(held)
        self._retries_set_aside.set(invoices)

    def refused_us(self, step: str, code: str) -> None:
        """Count a refusal that concerns no payer."""
        self._refused_us.labels(step, code).inc()

    def breaker(self, step: str, is_open: bool) -> None:
        """Show whether calls are paused."""
        self._breaker.labels(step).set(is_open)

    def clock_ahead(self, clock: str, ahead_s: float) -> None:
        """Show how far a clock is ahead of ours."""
        self._clock_ahead.labels(clock).set(ahead_s)

    def clocks_apart(self, wrong: str | None) -> None:
        """Show which clock keeps claims from being made."""
        for name in ClockName:
            self._clocks_apart.labels(name.value).set(name == wrong)

    def in_flight(self, attempts: int, unanswered: int) -> None:
        """Show how much is being carried, and how much of it has no answer yet."""
        self._in_flight.set(attempts)
        self._unanswered.set(unanswered)

    def may_carry(self, limit: int) -> None:
        """Show the bound of what is in flight, which the alert on it compares with."""
        self._in_flight_limit.set(limit)

    def slots(self, limit: int) -> None:
        """Show how many calls may be made at once."""
        self._slots.set(limit)

    def store_unavailable(self) -> None:
        """Count a repeated transaction."""
        self._store_away.inc()
