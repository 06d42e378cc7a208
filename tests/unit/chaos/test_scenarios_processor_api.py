"""The processor's and the API's faults in the mix: drawn from the dice alone, and holding what they touch."""

import json
import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chaos.drive.target import Need, Target
from chaos.faults import api, processor
from chaos.faults.mixable import MixFault
from chaos.faults.rules import CREATE, slow, too_many
from chaos.scenarios.api import API
from chaos.scenarios.processor import PROCESSOR
from stripe_sandbox.faults import Faults

TARGET = cast("Target", SimpleNamespace(apis=("api-1", "api-2")))
KINDS = [*processor.MIX, *api.MIX]
WITH_RULES = [kind for kind in processor.MIX if kind.draw is not processor.draw_nothing]


def drawn(kind: MixFault, seed: int) -> dict[str, Any]:
    return dict(kind.draw(random.Random(seed), TARGET))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_same_dice_draw_the_same_settings_which_are_plain_json(kind: MixFault) -> None:
    for seed in range(20):
        settings = drawn(kind, seed)
        assert settings == drawn(kind, seed)
        assert json.loads(json.dumps(settings)) == settings


@pytest.mark.parametrize("kind", processor.MIX, ids=lambda kind: kind.name)
def test_every_fault_of_the_processor_holds_it(kind: MixFault) -> None:
    assert kind.touches(drawn(kind, 1)) == {"sandbox"}


@pytest.mark.parametrize("kind", api.MIX, ids=lambda kind: kind.name)
def test_a_fault_of_the_api_holds_one_instance_and_needs_two(kind: MixFault) -> None:
    assert {frozenset(kind.touches(drawn(kind, seed))) for seed in range(20)} == {
        frozenset({"api-1"}),
        frozenset({"api-2"}),
    }
    assert kind.needs == {Need.SECOND_API}


@pytest.mark.parametrize("kind", WITH_RULES, ids=lambda kind: kind.name)
def test_every_rule_that_is_drawn_is_one_that_the_sandbox_takes_and_that_ends(kind: MixFault) -> None:
    for seed in range(100):
        settings = drawn(kind, seed)
        match = {"operation": settings["operation"], "probability": settings["probability"], "seed": 1}
        rule = Faults().add({"match": match, "action": settings["action"]})
        assert 0 < settings["probability"] < 1
        assert rule.action.get("executed", True), "a stored failure of what was not done lasts a day"


def test_a_slow_answer_takes_from_and_to_what_was_said() -> None:
    faults = Faults()
    faults.add({"action": dict(slow(5.0, 15.0))})
    waits = [faults.plan(CREATE, None, None).latency_s for _ in range(200)]
    assert min(waits) >= 5.0
    assert max(waits) <= 15.0
    assert max(waits) - min(waits) > 5.0


def test_too_many_says_when_to_come_back_only_if_told_to() -> None:
    assert "retry_after_s" not in too_many()
    assert too_many(1.5)["retry_after_s"] == 1.5


def test_names_are_unique_and_every_scenario_says_in_a_sentence_what_it_shows() -> None:
    scenarios = [*PROCESSOR, *API]
    assert len({each.name for each in scenarios}) == len(scenarios)
    for each in scenarios:
        assert each.shows.endswith(".")
        assert each.limit_s <= 120
