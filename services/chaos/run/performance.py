"""One scenario: wait until the system is steady, play, heal, come to rest, ask the judge."""

import asyncio
import random
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from chaos.demo.rest import come_to_rest
from chaos.drive.eyes import AwayError, Eyes
from chaos.drive.record import Record, now
from chaos.drive.stage import NotSeenError, Skipped, Stage
from chaos.drive.target import Target, TargetError
from chaos.judge.judging import Sources, connect, judge
from chaos.judge.promptness import Promptness
from chaos.judge.verdict import Verdict
from chaos.reporting.run_report import ScenarioResult, State
from chaos.run.clock import ClockHistory
from chaos.run.steady import UnsteadyError, until_steady
from chaos.scenarios.scenario import Scenario
from chaos.workload.workload import Workload
from cluster.errors import ClusterError

CLOCK_RATE = 8640.0
"""A day lasts ten seconds: four hundred daily subscriptions make forty charges a second."""
PHASE_S = (1.0, 2.0)
REST_TIMEOUT_S = 60.0
HEAL_TIMEOUT_S = 120.0
RETRY_BUDGET_S = 25.0
"""What a period may take to its first outcome beyond the lease, in time that no fault disturbs: one call to the
processor may run into its ten seconds, and after a storm of 429s the rate may take fifteen to come back."""

_PLAY_ERRORS = (NotSeenError, UnsteadyError, TargetError, ClusterError, AwayError, TimeoutError)


class StoppedError(Exception):
    """Somebody asked for the end of the run."""


@dataclass(slots=True)
class Performance:
    """Plays scenarios on one target, one after the other."""

    target: Target
    eyes: Eyes
    workload: Workload
    record: Record
    seed: int
    stop: asyncio.Event
    say: Callable[[str], None]
    clock: ClockHistory = field(default_factory=ClockHistory)

    async def play(self, scenario: Scenario) -> ScenarioResult:
        """Everything from the wait for a steady system to the judge's verdict. Raises `CannotJudgeError`."""
        began_at, began_s = now(), time.monotonic()
        state, reason = await self._play(scenario)
        healing = await self._heal()
        verdict, rested_s, unrest = None, 0.0, ""
        if state != "skipped":
            verdict, rested_s, unrest = await self.judged()
        troubles = [reason, healing, unrest]
        if verdict is not None and not verdict.holds:
            broken = [result.name for result in verdict.invariants if not result.holds]
            troubles.append(f"the verdict does not hold: {', '.join(broken)}")
        if state == "passed" and any(troubles):
            state = "failed"
        faults, observations = self.record.of(scenario.name)
        result = ScenarioResult(
            name=scenario.name,
            group=scenario.group,
            shows=scenario.shows,
            began_at=began_at,
            ended_at=now(),
            state=state,
            reason="; ".join(filter(None, troubles)),
            faults=tuple(faults),
            observations=tuple(observations),
            verdict=verdict,
            rested_s=rested_s,
        )
        self.say(
            f"{scenario.name}: {state.upper()} after {time.monotonic() - began_s:.1f} s"
            + (f" ({result.reason})" if result.reason else "")
        )
        return result

    async def judged(self) -> tuple[Verdict, float, str]:
        """Stop the clock, come to rest, judge, start the clock; the verdict, the wait, and what is wrong besides."""
        began_s = time.monotonic()
        await self.workload.quiet()
        await self._set_clock(0)
        connection = await connect(self.target.access.judge_database_url)
        try:
            left = await come_to_rest(connection, REST_TIMEOUT_S)
        finally:
            connection.terminate()
        rested_s = time.monotonic() - began_s
        access = self.target.access
        sources = Sources(access.judge_database_url, access.sandbox_url, access.sandbox_admin_key)
        verdict = await judge(sources, require_rest=True, promptness=self._promptness())
        await self._set_clock(CLOCK_RATE)
        self.workload.loud()
        unrest = f"not at rest after {REST_TIMEOUT_S:g} s: {left}" if left else ""
        return verdict, rested_s, "; ".join(filter(None, (unrest, let_off(verdict))))

    async def begin(self) -> None:
        """The workload begins: plans, first subscribers, a running clock."""
        await self.workload.begin()
        await self.clock.note(self.eyes)

    async def _play(self, scenario: Scenario) -> tuple[State, str]:
        if missing := scenario.needs - self.target.can:
            return "skipped", f"this target cannot do what it needs: {', '.join(sorted(missing))}"
        stage = Stage(
            scenario.name,
            self.target,
            self.eyes,
            self.record,
            random.Random(f"{scenario.name} {self.seed}"),  # noqa: S311  # repeatable on purpose
            self.say,
        )
        try:
            leader = await until_steady(self.target, self.eyes)
            await asyncio.sleep(stage.dice.uniform(*PHASE_S))  # at no moment of its keep-alives in particular
            self.say(f"{scenario.name}: {scenario.shows} ({leader.name} leads term {leader.term})")
            async with asyncio.timeout(scenario.limit_s):
                await self._unless_stopped(scenario, stage)
        except Skipped as skipped:
            return "skipped", str(skipped)
        except StoppedError:
            return "failed", "interrupted"
        except TimeoutError:
            return "failed", f"not over after {scenario.limit_s:g} s"
        except _PLAY_ERRORS as error:
            return "failed", f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001  # one broken scenario must not hide what the others show
            self.say(traceback.format_exc())
            return "failed", f"the scenario itself broke: {type(error).__name__}: {error}"
        _, observations = self.record.of(scenario.name)
        if not observations:
            return "failed", "nothing was observed: a fault that nobody saw bite proves nothing"
        return "passed", ""

    async def _unless_stopped(self, scenario: Scenario, stage: Stage) -> None:
        playing = asyncio.create_task(scenario.play(stage))
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                raise StoppedError
            playing.result()
        finally:
            stopping.cancel()
            playing.cancel()
            await asyncio.gather(playing, stopping, return_exceptions=True)

    async def _heal(self) -> str:
        """Undo whatever is left; what went wrong, in words."""
        try:
            async with asyncio.timeout(HEAL_TIMEOUT_S):
                await self.target.heal()
        except (TargetError, ClusterError, TimeoutError, OSError) as error:
            return f"not healed: {type(error).__name__}: {error}"
        finally:
            for fault in self.record.faults:
                fault.ended_at = fault.ended_at or now()
        return ""

    async def _set_clock(self, rate: float) -> None:
        await self.workload.set_clock(rate)
        await self.clock.note(self.eyes)

    def _promptness(self) -> Promptness:
        windows = tuple((fault.began_at, _ended(fault.ended_at)) for fault in self.record.faults)
        return Promptness(
            budget_s=RETRY_BUDGET_S,
            lease_ttl_s=self.target.lease_ttl_s,
            faults=windows,
            clock=tuple(self.clock.pieces),
        )


def let_off(verdict: Verdict) -> str:
    """Whether debts count as declined that nobody tried to charge, in words; empty when none does.

    The judge has to believe that the processor refused the request itself. The workload's requests are none of that kind.
    """
    count = verdict.counts["declined_without_charge"]
    return f"{count} attempts are declined without a charge, and nothing here is refused" if count else ""


def _ended(ended_at: datetime | None) -> datetime:
    return ended_at if ended_at is not None else now()
