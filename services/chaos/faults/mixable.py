"""A fault as the random mix needs it: drawn beforehand from the seed, struck at its instant, undone by itself."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from chaos.drive.stage import Stage
from chaos.drive.target import Need, Target

Settings = Mapping[str, Any]

LEADER = "leader"
"""In settings: whoever leads when the fault is struck. Two faults may not hold it at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixFault:
    """One kind of fault in the mix.

    `draw` chooses its settings (plain JSON values) from the dice alone and looks at nothing that changes, so that a
    seed means the same schedule everywhere. `touches` names what it lays hold of (`replica-1`, `leader`, `etcd`,
    `postgres`, `sandbox`, `api-2`, …): two faults that touch the same are never struck at the same time, all others
    overlap. `inject` declares the fault through `Stage.fault`, strikes, waits for `lasts_s`, undoes it, and
    observes that it bit: by what is certain whatever else goes on (the process died, the rule was hit), never by
    somebody charging, since another fault may forbid that. It may last longer until it has bitten, up to 20 s.
    """

    name: str
    weight: int
    lasts_s: tuple[float, float]
    draw: Callable[[random.Random, Target], Settings]
    touches: Callable[[Settings], frozenset[str]]
    inject: Callable[[Stage, Settings, float], Awaitable[None]]
    needs: frozenset[Need] = frozenset()
