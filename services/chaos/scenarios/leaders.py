"""Leaders and followers that die, one by one, all together, or again and again."""

from chaos.drive.eyes import Leader, until
from chaos.drive.record import Fault, now
from chaos.drive.stage import PATIENCE_S, Stage
from chaos.drive.target import Need
from chaos.faults.processes import all_killed, ended_by, killed, terminated, was_killed
from chaos.faults.rules import CONFIRM, misbehaving, slow
from chaos.scenarios.failpoints import kill_at_each_failpoint
from chaos.scenarios.scenario import Scenario
from chaos.scenarios.witness import (
    began,
    expect_settled_later,
    felt,
    no_sessions,
    open_attempts,
    others,
    pauses_s,
    revocations,
    seconds_between,
)

GROUP = "leaders"
LATENCY_S = 0.5
CALLS = 8
CRASHES = 5
PAUSE_LIMIT_S = 1.0


async def kill_leader(stage: Stage) -> None:
    leader = await stage.leader()
    await felt(stage, leader)
    async with killed(stage, leader.name) as fault:
        stage.observe(
            "the leader died",
            was_killed(stage.target, leader.name),
            ended_by(stage.target, leader.name),
            fault,
        )
        successor = await stage.expect_successor(leader, fault)
        revoked = revocations(stage, fault)
        stage.observe(
            "a follower that felt its pulse break took its lease away",
            any(line["leader"].startswith(f"{leader.name}#") for line in revoked),
            ", ".join(f"{line['by']} after {line['took_s']} s" for line in revoked) or "nobody did",
            fault,
        )
        took_s = seconds_between(fault.began_at, await began(stage, successor.term))
        stage.observe(
            "its successor did not wait for the lease to run out",
            took_s < stage.target.lease_ttl_s,
            f"in office {took_s:.3f} s after the kill; the lease lasts {stage.target.lease_ttl_s} s",
            fault,
        )


async def kill_all_replicas(stage: Stage) -> None:
    leader = await stage.leader()
    async with misbehaving(stage, slow(LATENCY_S, LATENCY_S), operation=CONFIRM) as rule:
        await stage.expect(
            "calls are at the processor",
            lambda: _open(stage, CALLS),
            rule.fault,
            tell=lambda n: f"{n} attempts open",
        )
        async with all_killed(stage, stage.target.replicas) as faults:
            stage.observe(
                "all of them died",
                all(was_killed(stage.target, name) for name in stage.target.replicas),
                ", ".join(ended_by(stage.target, name) for name in stage.target.replicas),
                *faults,
            )
            await until(lambda: no_sessions(stage), PATIENCE_S)  # what they had begun to commit is committed
            left = await open_attempts(stage)
            stage.observe("they left attempts open", bool(left), f"{len(left)} open", *faults)
    successor = await stage.expect_successor(leader, *faults)
    await stage.expect(
        "the next leader found every one of them",
        lambda: _recovered(stage, successor, faults[0], len(left)),
        *faults,
        tell=lambda found: f"{len(left)} left open, {found} found",
    )
    await expect_settled_later(stage, left, leader, *faults)


async def _open(stage: Stage, least: int) -> int | None:
    found = len(await open_attempts(stage))
    return found if found >= least else None


async def _recovered(stage: Stage, leader: Leader, fault: Fault, expected: int) -> int | None:
    lines = stage.eyes.logged(leader.name, "recovery.finished", since=fault.began_at, token=leader.term)
    return expected if any(line["attempts"] == expected for line in lines) else None


async def crash_loop_follower(stage: Stage) -> None:
    leader = await stage.leader()
    follower = stage.dice.choice(others(stage, leader.name))
    since = now()
    deaths = 0
    faults = []
    for number in range(CRASHES):
        async with killed(stage, follower) as fault:
            faults.append(fault)
            deaths += was_killed(stage.target, follower)
        if number % 2:  # as soon as it runs, or as soon as it stands for election
            await stage.target.start(follower)
    stage.observe(
        f"{follower} died again and again", deaths == CRASHES, f"{deaths} times by SIGKILL", *faults
    )
    await stage.expect_charging(*faults)
    terms = await stage.eyes.terms(after=leader.term - 1)
    stage.observe(
        f"{leader.name} leads in the same term all the while",
        [term.number for term in terms] == [leader.term] and terms[0].ended_at is None,
        f"since {deaths} deaths in {seconds_between(since, now()):.1f} s: terms {[term.number for term in terms]}",
        *faults,
    )


async def rolling_restart(stage: Stage) -> None:
    first = await stage.leader()
    since = await stage.eyes.clock()
    faults, led = [], 0
    for name in stage.dice.sample(list(stage.target.replicas), len(stage.target.replicas)):
        leader = await stage.leader()
        led += leader.name == name
        async with terminated(stage, name) as fault:
            faults.append(fault)
            stage.observe(
                f"{name} left by itself when asked to",
                stage.target.exit_code(name) == 0,
                ended_by(stage.target, name),
                fault,
            )
        await stage.target.start(name)
    await stage.expect_charging(*faults)
    pause_s = max(await pauses_s(stage, since, await stage.eyes.clock()))
    ended = {
        line["token"]: line["reason"]
        for name in stage.target.replicas
        for line in stage.eyes.logged(name, "term.ended", since=faults[0].began_at)
    }
    terms = {term.number for term in await stage.eyes.terms(after=first.term - 1) if term.ended_at}
    stage.observe(
        "every leader that was restarted handed its term over, and no other term ended",
        ended.keys() == terms and len(ended) == led and set(ended.values()) == {"stopped"},
        f"{led} were leading; terms {sorted(terms)} ended: {ended}",
        *faults,
    )
    stage.observe(
        f"charges never pause for {PAUSE_LIMIT_S:g} s",
        pause_s < PAUSE_LIMIT_S,
        f"the longest pause took {pause_s:.2f} s",
        *faults,
    )


LEADERS: tuple[Scenario, ...] = (
    Scenario(
        name="kill-leader",
        group=GROUP,
        shows="a leader that is killed is replaced as soon as its followers feel its pulse break, long before its lease",
        play=kill_leader,
    ),
    Scenario(
        name="kill-leader-at-each-failpoint",
        group=GROUP,
        shows="a leader may die at any step of a charge: its successor finds what it left, and charges it once",
        play=kill_at_each_failpoint,
        needs=frozenset({Need.RELAUNCH}),
        limit_s=240.0,
    ),
    Scenario(
        name="kill-all-replicas",
        group=GROUP,
        shows="when every replica dies with calls at the processor, the next one to stand up finishes what they began",
        play=kill_all_replicas,
    ),
    Scenario(
        name="crash-loop-follower",
        group=GROUP,
        shows="a follower that crashes again and again does not disturb a healthy leader",
        play=crash_loop_follower,
        limit_s=120.0,
    ),
    Scenario(
        name="rolling-restart",
        group=GROUP,
        shows="all replicas are restarted one by one: every leader hands over, and charging goes on",
        play=rolling_restart,
        limit_s=120.0,
    ),
)
