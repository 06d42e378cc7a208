"""Strikes every fault of a schedule at its instant, whatever the others are doing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from chaos.drive.eyes import until
from chaos.drive.stage import NotSeenError, Skipped, Stage
from chaos.drive.target import TargetError
from chaos.faults.mixable import LEADER
from chaos.mix.faults import kind
from chaos.mix.schedule import Strike
from cluster.errors import ClusterError

LEADER_PATIENCE_S = 15.0
MISSED_SHARE = 0.5


class MixFailedError(NotSeenError):
    """Faults of the mix did not bite, or could not be struck or undone."""


@dataclass(slots=True)
class _Performance:
    stage: Stage
    held: set[str] = field(default_factory=set)
    struck: int = 0
    passed_over: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def strike(self, strike: Strike, began_s: float) -> None:
        await asyncio.sleep(max(0.0, began_s + strike.at_s - asyncio.get_running_loop().time()))
        settings = dict(strike.settings)
        if settings.get("whom") == LEADER:
            try:
                leader = await until(self.stage.eyes.leader, LEADER_PATIENCE_S)
            except TimeoutError:
                self.passed_over.append(f"#{strike.number} {strike.name}: nobody led")
                return
            settings["whom"] = leader.name
        wanted = (strike.touches - {LEADER}) | ({str(settings["whom"])} if "whom" in settings else set())
        if taken := wanted & self.held:
            # A fault may outlast what was drawn for it, and the leader may be in other hands already.
            self.passed_over.append(
                f"#{strike.number} {strike.name}: {', '.join(sorted(taken))} was in other hands"
            )
            return
        self.held |= wanted
        try:
            await kind(strike.name).inject(self.stage, settings, strike.lasts_s)
            self.struck += 1
        except Skipped as skipped:
            self.passed_over.append(f"#{strike.number} {strike.name}: {skipped}")
        except (NotSeenError, TargetError, ClusterError, TimeoutError) as error:
            self.failed.append(f"#{strike.number} {strike.name} {dict(settings)}: {error}")
            self.stage.say(f"FAILED: {self.failed[-1]}")
        finally:
            self.held -= wanted


async def play(stage: Stage, schedule: Sequence[Strike]) -> None:
    """Returns when every fault was struck and undone; raises `MixFailedError`, naming those that failed."""
    performance = _Performance(stage)
    began_s = asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as strikes:
        for strike in schedule:
            strikes.create_task(performance.strike(strike, began_s), name=f"strike-{strike.number}")
    seen = f"{performance.struck} of {len(schedule)} struck"
    if performance.passed_over:
        seen += f"; passed over: {'; '.join(performance.passed_over)}"
    if performance.failed:
        raise MixFailedError(f"{seen}; failed: {'; '.join(performance.failed)}")
    stage.observe(
        "the faults of the schedule were struck, and each bit",
        performance.struck > 0 and performance.struck >= len(schedule) * MISSED_SHARE,
        seen,
    )
