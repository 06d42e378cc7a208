"""`/metrics`: the sandbox's counts for Prometheus."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from stripe_sandbox.http import Reply


class _Counts(Collector):
    def __init__(self, view: Mapping[str, Any]) -> None:
        self._view = view

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        view = self._view
        requests = CounterMetricFamily(
            "sandbox_requests", "Requests answered since the start", labels=("operation", "status")
        )
        for operation, statuses in view["requests"].items():
            for status, count in statuses.items():
                requests.add_metric((operation, status), count)
        yield requests
        yield CounterMetricFamily(
            "sandbox_requests_dropped",
            "Requests dropped before execution by a fault",
            value=view["dropped_before_execution"],
        )
        intents = GaugeMetricFamily(
            "sandbox_payment_intents", "Payment intents in the ledger", labels=("status",)
        )
        for status, count in view["payment_intents_by_status"].items():
            intents.add_metric((status,), count)
        yield intents
        amount = GaugeMetricFamily(
            "sandbox_amount_succeeded", "Received in the ledger, in processor units", labels=("currency",)
        )
        for currency, totals in view["succeeded"].items():
            amount.add_metric((currency,), totals["amount"])
        yield amount


def prometheus_reply(view: Mapping[str, Any]) -> Reply:
    """The answer to `GET /metrics`, from `Stats.view`."""
    registry = CollectorRegistry()
    registry.register(_Counts(view))
    return Reply(200, generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
