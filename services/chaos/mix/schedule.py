"""Draws a schedule of faults: the same seed, duration and layout give the same schedule everywhere."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chaos.drive.target import Target
from chaos.faults.mixable import MixFault, Settings

FIRST_S = 2.0
MEAN_PAUSE_S = 2.5
"""Between two strikes: below the mean length of a fault, so that two or three usually overlap."""
RECOVERY_S = 2.0
"""How long after its end a fault still holds what it touched: the thing has to stand up again."""
MAX_STRIKES = 10_000


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault to come: `at_s` after the beginning of the mix."""

    number: int
    at_s: float
    lasts_s: float
    name: str
    settings: Settings
    touches: frozenset[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "number": self.number,
            "at_s": self.at_s,
            "lasts_s": self.lasts_s,
            "name": self.name,
            "settings": dict(self.settings),
            "touches": sorted(self.touches),
        }


def draw(seed: int, duration_s: float, kinds: Sequence[MixFault], target: Target) -> tuple[Strike, ...]:
    """Faults that begin and end within the duration, earliest first.

    No two that touch the same thing hold it at once. A kind that does not fit any more at an instant is not drawn
    anew by force: the next instant has its own chance.
    """
    dice = random.Random(f"mix {seed}")  # noqa: S311  # repeatable on purpose
    possible = [kind for kind in kinds if kind.needs <= target.can]
    busy_until_s: dict[str, float] = {}
    strikes: list[Strike] = []
    at_s = FIRST_S
    while at_s < duration_s and len(strikes) < MAX_STRIKES and possible:
        kind = dice.choices(possible, weights=[each.weight for each in possible])[0]
        lasts_s = round(dice.uniform(*kind.lasts_s), 2)
        settings = kind.draw(dice, target)
        touches = kind.touches(settings)
        free = all(busy_until_s.get(thing, 0.0) <= at_s for thing in touches)
        if free and at_s + lasts_s <= duration_s:
            strikes.append(Strike(len(strikes) + 1, round(at_s, 2), lasts_s, kind.name, settings, touches))
            busy_until_s |= dict.fromkeys(touches, at_s + lasts_s + RECOVERY_S)
        at_s += dice.expovariate(1 / MEAN_PAUSE_S)
    return tuple(strikes)
