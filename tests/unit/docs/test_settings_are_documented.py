"""The operations page lists what operators meet: settings, metrics, log events. Nothing missing, nothing made up."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from middleman.entrypoints.api.metrics import ApiMetrics
from middleman.entrypoints.replica.metrics import ReplicaMetrics
from middleman.settings import (
    FAILPOINTS,
    UNSAFE_SWITCHES,
    ApiSettings,
    MigrateSettings,
    ReplicaSettings,
)

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/operations.md").read_text()
_PROCESSES = (MigrateSettings, ApiSettings, ReplicaSettings)
_LOGGED = re.compile(
    r"log\.(?:debug|info|warning|error|critical|exception)\(\s*\"(?P<event>[a-z_]+\.[a-z_]+)\""
)


def _settings() -> dict[str, str]:
    """Every setting's name in the environment, and its default as the page writes it."""
    return {
        str(field.validation_alias or f"MIDDLEMAN_{name.upper()}"): _default(field)
        for kind in _PROCESSES
        for name, field in kind.model_fields.items()
    }


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if value is None or value == ():
        return "none"
    if value == "":
        return "empty"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _metrics() -> set[str]:
    """Every metric's name as Prometheus shows it."""
    registry = CollectorRegistry()
    ReplicaMetrics(registry)
    api = ApiMetrics(lambda: 0, 10).registry
    families = (family for each in (registry, api) for family in each.collect())
    return {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families
        if family.name.startswith("middleman_")
    }


def _logged() -> set[str]:
    sources = (path.read_text() for path in (ROOT / "services/middleman").rglob("*.py"))
    return {match["event"] for source in sources for match in _LOGGED.finditer(source)}


def _rows(heading: str) -> list[list[str]]:
    """The cells of the table rows between `heading` and the next one of its rank."""
    rank = heading.split(" ")[0]
    _, found, rest = PAGE.partition(f"\n{heading}\n")
    assert found, f"the page has no section {heading!r}"
    section = re.split(rf"\n#{{1,{len(rank)}}} ", rest)[0]
    return [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")]


def test_every_setting_is_documented_and_no_other() -> None:
    documented = {name for row in _rows("## Settings") for name in re.findall(r"`([A-Z][A-Z_]+)`", row[0])}
    assert documented == set(_settings())


@pytest.mark.parametrize(("name", "default"), sorted(_settings().items()))
def test_the_documented_default_is_the_real_one(name: str, default: str) -> None:
    row = next(row for row in _rows("## Settings") if f"`{name}`" in row[0])
    assert row[1].partition(":")[0].strip("` ") == default  # "empty: Stripe" says what empty means


def test_every_metric_is_documented_and_no_other() -> None:
    documented = {name for row in _rows("## Metrics") for name in re.findall(r"`(middleman_\w+)`", row[0])}
    assert documented == _metrics()


def test_every_log_event_is_documented_and_no_other() -> None:
    documented = {
        name for row in _rows("## Log events") for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", row[0])
    }
    assert documented == _logged()


def test_every_failpoint_and_every_unsafe_switch_is_documented() -> None:
    assert {name for name in (*FAILPOINTS, *UNSAFE_SWITCHES) if f"`{name}`" not in PAGE} == set()
