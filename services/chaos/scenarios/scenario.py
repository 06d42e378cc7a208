"""What a scenario is."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from chaos.drive.stage import Stage
from chaos.drive.target import Need


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault, or a few that belong together.

    `play` gets a steady system (one leads and charges, everybody is ready), injects faults through
    `Stage.fault`, undoes them, and notes at least one observation through `Stage.expect` or `Stage.observe`. What it
    leaves broken is healed afterwards. `limit_s` bounds it.
    """

    name: str
    group: str
    shows: str
    play: Callable[[Stage], Coroutine[Any, Any, None]]
    needs: frozenset[Need] = frozenset()
    limit_s: float = 60.0
