"""All scenarios of a plan on one target, with the workload beside, and the report of it."""

import asyncio
import os
import platform
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from chaos.demo.tasks import beside
from chaos.drive.eyes import Eyes
from chaos.drive.record import Record, now
from chaos.drive.target import Target
from chaos.judge.judging import connect
from chaos.reporting.run_report import RunReport, ScenarioResult
from chaos.reporting.timeline import read_timeline
from chaos.run.performance import CLOCK_RATE, Performance
from chaos.run.plan import Plan
from chaos.workload.workload import Workload

BUCKET_S = 0.1


async def run(
    target: Target,
    plan: Plan,
    *,
    target_name: str,
    stop: asyncio.Event,
    say: Callable[[str], None],
) -> RunReport:
    """Play every scenario of the plan, judge after each and in the end; `stop` ends it early.

    Raises `WorkloadError`, `CannotJudgeError`, `ClusterError` when the system cannot be driven at all.
    """
    record = Record()
    results: list[ScenarioResult] = []
    began_at = now()
    async with (
        Eyes(target) as eyes,
        Workload(target.access, seed=plan.seed, clock_rate=CLOCK_RATE, say=say) as workload,
    ):
        performance = Performance(target, eyes, workload, record, plan.seed, stop, say)
        say("the first customers subscribe")
        await performance.begin()
        schedule = plan.schedule(target)
        scenarios = plan.scenarios(schedule)
        async with beside(workload.run()):
            for number, scenario in enumerate(scenarios, start=1):
                if stop.is_set():
                    break
                say(f"[{number}/{len(scenarios)}] {scenario.name}")
                results.append(as_asked(plan, await performance.play(scenario)))
            interrupted = stop.is_set() and cut_short(results, len(scenarios))
            say("coming to rest for the last time")
            final, _, unrest = await performance.judged()
            await workload.quiet()
            await workload.set_clock(0)
        findings = [*await workload.findings(), *filter(None, [unrest])]
        ended_at = now()
        connection = await connect(target.access.judge_database_url)
        try:
            timeline = await read_timeline(
                connection, began_at, ended_at, tuple(record.faults), bucket_s=BUCKET_S
            )
        finally:
            connection.terminate()
        return RunReport(
            command=plan.command,
            seed=plan.seed,
            target=target_name,
            commit=_commit(),
            began_at=began_at,
            ended_at=ended_at,
            machine={
                "cores": os.cpu_count(),
                "system": platform.platform(),
                "python": platform.python_version(),
            },
            scenarios=tuple(results),
            schedule=[strike.to_json() for strike in schedule],
            final=final,
            timeline=timeline,
            workload=dict(workload.figures),
            findings=tuple(findings),
            interrupted=interrupted,
        )


def as_asked(plan: Plan, result: ScenarioResult) -> ScenarioResult:
    """The result, failed where the scenario was asked for by name and was skipped: nobody shall take that for passed."""
    if not plan.by_name or result.state != "skipped":
        return result
    return replace(
        result, state="failed", reason=f"skipped, though it was asked for by name: {result.reason}"
    )


def cut_short(results: Sequence[ScenarioResult], planned: int) -> bool:
    """Whether a run that was told to stop left out a scenario, or the end of the last one."""
    return len(results) < planned or results[-1].state == "failed"


def _commit() -> str:
    """What `git describe` says of the source that runs; empty where it was installed without its history."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        told = subprocess.run(  # noqa: S603  # a fixed command
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""
