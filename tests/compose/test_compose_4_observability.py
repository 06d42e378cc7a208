"""Prometheus sees every process, understands every expression of ours, and wakes somebody when nobody leads."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.compose.conftest import Step
from tests.support.compose_stack import ROOT, Stack, docker, until

TARGETS = {"replica": 3, "api": 1, "sandbox": 1, "etcd": 3, "prometheus": 1}


@pytest.fixture(scope="module")
def prometheus(stack: Stack, step: Step) -> str:
    """Its URL."""
    with step("--profile observability up prometheus"):
        stack.compose("--profile", "observability", "up", "-d", "--no-recreate", "--wait", "prometheus")
    return stack.url("prometheus", 9090)


def _ask(url: str, path: str, **query: str) -> Any:
    answer = httpx.get(f"{url}/api/v1/{path}", params=query, timeout=10, trust_env=False)
    content = answer.json()
    assert content["status"] == "success", (query, content)
    return content["data"]


def _expressions() -> Iterator[str]:
    dashboard = json.loads((ROOT / "deploy/grafana/dashboards/middleman.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    yield from (each["expr"] for each in dashboard["annotations"]["list"])


def test_the_rules_mean_what_their_tests_say(stack: Stack, prometheus: str) -> None:
    def promtool(*what: str) -> str:
        # It tests rules in a database of its own, and the container's root file system is read-only.
        return stack.compose("exec", "-T", "-e", "TMPDIR=/prometheus", "prometheus", "promtool", *what)

    assert "SUCCESS" in promtool("check", "config", "/etc/prometheus/prometheus.yml")
    assert "SUCCESS" in promtool("test", "rules", "/etc/prometheus/tests/rules.yml")


def test_every_process_is_scraped(prometheus: str) -> None:
    def all_up() -> bool | None:
        targets = _ask(prometheus, "targets")["activeTargets"]
        up = {job: sum(t["labels"]["job"] == job and t["health"] == "up" for t in targets) for job in TARGETS}
        return True if up == TARGETS else None

    until(all_up, f"targets are up: {TARGETS}")


def test_every_metric_that_we_rely_on_is_there(prometheus: str) -> None:
    rules = (ROOT / "deploy/prometheus/rules").glob("*.yml")
    text = "\n".join([*_expressions(), *(file.read_text() for file in rules)])
    # Ours are held to the code by a test of their own; of etcd's, only etcd knows.
    needed = set(re.findall(r"\betcd_\w+", text)) | {"up", "middleman_leader", "sandbox_payment_intents"}
    assert len(needed) > 4

    def missing() -> bool | None:
        return True if needed <= set(_ask(prometheus, "label/__name__/values")) else None

    until(missing, f"{sorted(needed)} are known to Prometheus")


def test_every_expression_of_the_dashboard_is_one_that_prometheus_takes(prometheus: str) -> None:
    asked = [_ask(prometheus, "query", query=expression)["resultType"] for expression in _expressions()]
    assert len(asked) > 20
    assert set(asked) == {"vector"}


def test_the_alert_that_nobody_leads_fires_and_clears(stack: Stack, prometheus: str, step: Step) -> None:
    def firing() -> set[str]:
        alerts = _ask(prometheus, "alerts")["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    until(lambda: True if "NobodyLeads" not in firing() else None, "somebody leads")
    replicas = [each["Id"] for each in stack.containers("replica")]
    try:
        docker("kill", *replicas)
        with step("all replicas killed: the alert NobodyLeads fires"):
            until(lambda: True if "NobodyLeads" in firing() else None, "the alert fires")
    finally:
        docker("start", *replicas)
    with step("all replicas started: the alert clears"):
        until(lambda: True if "NobodyLeads" not in firing() else None, "the alert clears")
    stack.charges_go_on()
    assert stack.verdict()["holds"]
