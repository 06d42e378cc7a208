"""Which scenarios are played, with which seed."""

from dataclasses import dataclass

from chaos.drive.target import Target
from chaos.mix.faults import KINDS
from chaos.mix.play import play
from chaos.mix.schedule import Strike, draw
from chaos.scenarios.catalogue import SCENARIOS, named
from chaos.scenarios.scenario import Scenario

ALL = "all"
RANDOM = "random"
LOCAL = "local"
DEFAULT_MIX_S = 60.0
MAX_DURATION_S = 86_400
MIX_EXTRA_S = 180.0
"""What the mix may take beyond its duration: faults that last until they bit, and members that start again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run that anyone can repeat. Raises `ValueError`.

    `scenario` is a name, several with commas between them, `all` (every scenario, then a mix) or `random` (a mix of
    `duration_s`). `target` says on what.
    """

    scenario: str = ALL
    seed: int = 1
    duration_s: float | None = None
    target: str = LOCAL

    def __post_init__(self) -> None:
        if self.scenario not in (ALL, RANDOM):
            self._named()
        if self.duration_s is not None and self.scenario != RANDOM:
            raise ValueError(
                f"duration-s={self.duration_s:g}: only --scenario random takes one, the others take what they need"
            )
        if self.duration_s is not None and not 5 <= self.duration_s <= MAX_DURATION_S:
            raise ValueError(f"duration-s={self.duration_s:g}: must be from 5 to {MAX_DURATION_S}")

    def schedule(self, target: Target) -> tuple[Strike, ...]:
        """The mix's faults; none without a mix."""
        if self.scenario not in (ALL, RANDOM):
            return ()
        return draw(self.seed, self._mix_s, KINDS, target)

    def scenarios(self, schedule: tuple[Strike, ...]) -> tuple[Scenario, ...]:
        """What is played, in order."""
        mix = Scenario(
            name=RANDOM,
            group="mix",
            shows=f"faults of every kind, overlapping, drawn from seed {self.seed}, for {self._mix_s:g} s",
            play=lambda stage: play(stage, schedule),
            limit_s=self._mix_s + MIX_EXTRA_S,
        )
        if self.scenario == ALL:
            return (*SCENARIOS, mix)
        return (mix,) if self.scenario == RANDOM else self._named()

    @property
    def by_name(self) -> bool:
        """Whether each of the scenarios was asked for by its name."""
        return self.scenario not in (ALL, RANDOM)

    @property
    def command(self) -> str:
        """What to type to repeat it."""
        duration = f" --duration-s {self._mix_s:g}" if self.scenario == RANDOM else ""
        target = "" if self.target == LOCAL else f" --target {self.target}"
        return f"middleman chaos run --scenario {self.scenario} --seed {self.seed}{duration}{target}"

    def _named(self) -> tuple[Scenario, ...]:
        return tuple(named(name) for name in self.scenario.split(","))

    @property
    def _mix_s(self) -> float:
        return DEFAULT_MIX_S if self.duration_s is None else self.duration_s
