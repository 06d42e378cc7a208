"""Every scenario by its name, in the order in which they are played."""

from chaos.scenarios.api import API
from chaos.scenarios.etcd import ETCD
from chaos.scenarios.freezes import FREEZES
from chaos.scenarios.leaders import LEADERS
from chaos.scenarios.partitions import PARTITIONS
from chaos.scenarios.postgres import DATABASE
from chaos.scenarios.processor import PROCESSOR
from chaos.scenarios.scenario import Scenario

GROUPS: tuple[tuple[Scenario, ...], ...] = (LEADERS, FREEZES, PARTITIONS, ETCD, DATABASE, PROCESSOR, API)

SCENARIOS: tuple[Scenario, ...] = tuple(scenario for group in GROUPS for scenario in group)


def named(name: str) -> Scenario:
    """The scenario of that name; raises `ValueError` that names all of them."""
    for scenario in SCENARIOS:
        if scenario.name == name:
            return scenario
    raise ValueError(
        f"no scenario {name!r}: there are all, random, {', '.join(each.name for each in SCENARIOS)}"
    )
