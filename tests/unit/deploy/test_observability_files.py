"""Rules and dashboard name only what the processes show, and every alert is explained to who is woken by it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from middleman.entrypoints.api.metrics import ApiMetrics
from middleman.entrypoints.replica.metrics import ReplicaMetrics
from stripe_sandbox.metrics import prometheus_reply
from stripe_sandbox.stats import Stats

DEPLOY = Path(__file__).resolve().parents[3] / "deploy"
RULES = sorted((DEPLOY / "prometheus/rules").glob("*.yml"))
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana/dashboards/middleman.json").read_text())
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
_SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "gauge": ("",),
    "unknown": ("",),
}


def _series() -> set[str]:
    """Every name under which Prometheus knows a metric of ours."""
    registry = CollectorRegistry()
    ReplicaMetrics(registry)
    families = [*registry.collect(), *ApiMetrics(lambda: 0, 10).registry.collect()]
    return {
        family.name + suffix for family in families for suffix in _SUFFIXES[family.type]
    } | _of_the_sandbox()


def _of_the_sandbox() -> set[str]:
    nothing_yet = {
        "requests": {},
        "dropped_before_execution": 0,
        "payment_intents_by_status": {},
        "succeeded": {},
    }
    no_keys = {"replayed": 0, "in_flight": 0, "other_parameters": 0}
    text = prometheus_reply(nothing_yet, Stats(), no_keys, 0).body.decode()
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def _recorded() -> set[str]:
    return {name for file in RULES for name in re.findall(r"- record: (\S+)", file.read_text())}


def _expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of all of them."""
    for file in RULES:
        for found in re.finditer(
            r"^ +expr: (?:>-\n((?: {10,}.*\n)+)|(.+)\n)", file.read_text(), re.MULTILINE
        ):
            yield file.name, found[1] or found[2]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in DASHBOARD["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def test_every_rule_has_an_expression_that_we_found() -> None:
    rules = sum(len(re.findall(r"- (?:record|alert): ", file.read_text())) for file in RULES)
    assert len([where for where, _ in _expressions() if where.endswith(".yml")]) == rules > 20


@pytest.mark.parametrize(("where", "expression"), sorted(_expressions()))
def test_every_metric_of_an_expression_exists(where: str, expression: str) -> None:
    unquoted = re.sub(r'"[^"]*"', "", expression)
    named = set(re.findall(r"\b(?:middleman|sandbox)_\w+", unquoted))
    assert named <= _series()
    assert set(re.findall(r"\bmiddleman:[\w:]+", unquoted)) <= _recorded()
    assert named or re.search(r"middleman:|\betcd_|\bup\b|\bALERTS\b", unquoted), "it asks for nothing"


def test_every_bucket_that_a_rule_picks_exists() -> None:
    registry = CollectorRegistry()
    ReplicaMetrics(registry).settled("succeeded")
    picked = re.findall(r'(\w+)_bucket\{le="([^"]+)"\}', "".join(file.read_text() for file in RULES))
    assert picked
    for name, bound in picked:
        assert registry.get_sample_value(f"{name}_bucket", {"le": bound}) is not None, (name, bound)


def test_every_recorded_rule_is_used() -> None:
    used = "".join(re.sub(r"- record: \S+", "", file.read_text()) for file in RULES) + json.dumps(DASHBOARD)
    assert {name for name in _recorded() if name not in used} == set()


def test_every_alert_is_explained_on_the_operations_page_and_no_other() -> None:
    page = (DEPLOY.parent / "docs/operations.md").read_text()
    section = page.partition("\n### What to be woken for\n")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `([A-Z]\w+)` \|", section, re.MULTILINE))
    alerts = {name for file in RULES for name in re.findall(r"- alert: (\w+)", file.read_text())}
    assert explained == alerts


def test_every_panel_asks_the_provisioned_data_source() -> None:
    provisioned = (DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text()
    uids = {panel["datasource"]["uid"] for panel in PANELS}
    uids |= {target["datasource"]["uid"] for panel in PANELS for target in panel["targets"]}
    assert len(uids) == 1
    assert f"uid: {uids.pop()}\n" in provisioned


def test_panels_stand_side_by_side_and_not_on_each_other() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells


def test_the_dashboard_and_prometheus_find_their_files_where_the_compose_file_mounts_them() -> None:
    compose = (DEPLOY.parent / "docker-compose.yml").read_text()
    for mounted in re.findall(r"\./deploy/(\S+?):/", compose):
        assert (DEPLOY / mounted).is_dir(), mounted
    configured = (DEPLOY / "prometheus/prometheus.yml").read_text()
    for name in re.findall(r"^  - (rules/\S+)", configured, re.MULTILINE):
        assert (DEPLOY / "prometheus" / name).is_file()
    provider = (DEPLOY / "grafana/provisioning/dashboards/middleman.yml").read_text()
    path = re.search(r"path: (\S+)", provider)
    assert path is not None
    assert f"./deploy/grafana/dashboards:{path[1]}:ro" in compose
