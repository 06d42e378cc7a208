"""Puts objects in the place of the ids that name them, where a request asked for it."""

from collections.abc import Iterable
from typing import Any

from stripe_sandbox.expansion import Path, Step
from stripe_sandbox.operation import Json
from stripe_sandbox.resources.rendering import render
from stripe_sandbox.world import World


def expand(world: World, document: Json, paths: Iterable[Path]) -> None:
    """Changes `document`, a fresh answer. What is null stays null, and so does the rest of its path."""
    for path in paths:
        for item in document["data"] if path.in_list else (document,):
            _expand(world, item, path.steps)


def _expand(world: World, document: Json, steps: Iterable[Step]) -> None:
    here: Any = document
    for step in steps:
        for name in step.names[:-1]:
            here = here.get(name)
            if here is None:
                # A deleted customer is a stub without the objects inside.
                return
        last = step.names[-1]
        if isinstance(here.get(last), str):
            here[last] = render(world, world.record(step.kind, here[last]))
        here = here.get(last)
        if here is None:
            return
