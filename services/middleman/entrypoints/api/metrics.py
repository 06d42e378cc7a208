"""What Prometheus scrapes. One registry per app: no globals, so that several apps fit in one process."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class ApiMetrics:
    """Counts requests by route template, so that ids never become labels."""

    def __init__(self, sessions_in_use: Callable[[], int], pool_size: int) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "middleman_api_requests",
            "Requests handled",
            ["route", "method", "status"],
            registry=self.registry,
        )
        self._latency = Histogram(
            "middleman_api_request_seconds",
            "From the first byte of a request to the last of its response",
            ["route", "method"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
            registry=self.registry,
        )
        self._webhooks = Counter(
            "middleman_api_webhooks", "Webhooks by what became of them", ["result"], registry=self.registry
        )
        self.in_flight = Gauge("middleman_api_in_flight", "Requests at work", registry=self.registry)
        in_use = Gauge(
            "middleman_api_database_sessions_in_use", "Database sessions at work", registry=self.registry
        )
        in_use.set_function(sessions_in_use)
        size = Gauge("middleman_api_database_sessions_max", "Size of the pool", registry=self.registry)
        size.set(pool_size)

    def handled(self, route: str, method: str, status: int, duration_s: float) -> None:
        """Count one request."""
        known = method if method in _METHODS else "other"
        self._requests.labels(route, known, str(status)).inc()
        self._latency.labels(route, known).observe(duration_s)

    def delivered(self, result: str) -> None:
        """Count one webhook."""
        self._webhooks.labels(result).inc()

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
