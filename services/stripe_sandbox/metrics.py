"""`/metrics`: the sandbox's counts for Prometheus, and what the process itself uses."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Metric,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from stripe_sandbox.http import Reply
from stripe_sandbox.stats import Stats


class _Counts(Collector):
    def __init__(
        self, view: Mapping[str, Any], stats: Stats, keys: Mapping[str, int], pending_deliveries: int
    ) -> None:
        self._view, self._stats, self._keys = view, stats, keys
        self._pending_deliveries = pending_deliveries

    def collect(self) -> Iterable[Metric]:
        yield from self._requests()
        yield from self._idempotency()
        yield from self._webhooks()
        yield from self._ledger()

    def _requests(self) -> Iterable[Metric]:
        requests = CounterMetricFamily(
            "sandbox_requests", "Requests answered since the start", labels=("operation", "status")
        )
        for operation, statuses in self._view["requests"].items():
            for status, count in statuses.items():
                requests.add_metric((operation, status), count)
        yield requests
        yield CounterMetricFamily(
            "sandbox_requests_dropped",
            "Requests dropped before execution by a fault",
            value=self._view["dropped_before_execution"],
        )
        seconds = HistogramMetricFamily(
            "sandbox_request_seconds",
            "From a request's arrival until its reply left, with the waits of faults",
            labels=("operation",),
        )
        for operation, latencies in self._stats.latencies.items():
            seconds.add_metric((operation,), latencies.cumulative(), latencies.sum_s)
        yield seconds
        commits = self._stats.commits
        yield HistogramMetricFamily(
            "sandbox_commit_seconds",
            "One transaction of the ledger, for all requests of one turn",
            buckets=commits.cumulative(),
            sum_value=commits.sum_s,
        )

    def _idempotency(self) -> Iterable[Metric]:
        yield CounterMetricFamily(
            "sandbox_idempotent_replays",
            "Repeats that got the answer remembered under their key",
            value=self._keys["replayed"],
        )
        conflicts = CounterMetricFamily(
            "sandbox_idempotency_conflicts",
            "Requests refused for their idempotency key: its first request is in_flight, or had other_parameters",
            labels=("reason",),
        )
        for reason in ("in_flight", "other_parameters"):
            conflicts.add_metric((reason,), self._keys[reason])
        yield conflicts

    def _webhooks(self) -> Iterable[Metric]:
        yield GaugeMetricFamily(
            "sandbox_webhooks_pending", "Events that wait for their delivery", value=self._pending_deliveries
        )
        deliveries = CounterMetricFamily(
            "sandbox_webhook_deliveries",
            "Tries to deliver an event: delivered or failed; an event is given_up with its last failure",
            labels=("outcome",),
        )
        for outcome, count in self._stats.deliveries.items():
            deliveries.add_metric((outcome,), count)
        yield deliveries

    def _ledger(self) -> Iterable[Metric]:
        intents = GaugeMetricFamily(
            "sandbox_payment_intents", "Payment intents in the ledger", labels=("status",)
        )
        for status, count in self._view["payment_intents_by_status"].items():
            intents.add_metric((status,), count)
        yield intents
        amount = GaugeMetricFamily(
            "sandbox_amount_succeeded", "Received in the ledger, in processor units", labels=("currency",)
        )
        for currency, totals in self._view["succeeded"].items():
            amount.add_metric((currency,), totals["amount"])
        yield amount


def prometheus_reply(
    view: Mapping[str, Any], stats: Stats, keys: Mapping[str, int], pending_deliveries: int
) -> Reply:
    """The answer to `GET /metrics`. `view` is `Stats.view`, `keys` are `IdempotencyKeys.outcomes`."""
    registry = CollectorRegistry()
    registry.register(_Counts(view, stats, keys, pending_deliveries))
    ProcessCollector(registry=registry)
    return Reply(200, generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
