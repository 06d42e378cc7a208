"""Faults of replicas and their links: undone whatever happens, and in the mix drawn from the dice alone."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest
from tests.support.virtual_time import in_virtual_time

from chaos.drive.eyes import Eyes
from chaos.drive.record import Fault, Record
from chaos.drive.stage import NotSeenError, Stage
from chaos.drive.target import EVERYTHING, Side, Target
from chaos.faults import partitions, replicas
from chaos.faults.links import MODES, answered_after_s, cut, flapping
from chaos.faults.mixable import LEADER, MixFault
from chaos.faults.processes import all_killed, armed, frozen, killed, restored, stuttering, terminated
from cluster.links import BLACK_HOLE, DEAF, MUTE, PASS, REFUSE, Link, delayed, throttled

KINDS = {kind.name: kind for kind in (*replicas.MIX, *partitions.MIX)}
SEEDS = range(50)
Strike = Callable[[Stage], AbstractAsyncContextManager[object]]


@dataclass
class Verbs:
    """A target that only remembers what was done to it."""

    replicas: tuple[str, ...] = ("replica-1", "replica-2", "replica-3")
    done: list[str] = field(default_factory=list)

    async def kill(self, name: str) -> None:
        self.done.append(f"kill {name}")

    async def terminate(self, name: str) -> None:
        self.done.append(f"terminate {name}")

    async def launch(self, name: str) -> None:
        self.done.append(f"launch {name}")

    async def pause(self, name: str) -> None:
        self.done.append(f"pause {name}")

    async def resume(self, name: str) -> None:
        self.done.append(f"resume {name}")

    async def relaunch(self, name: str, env: Mapping[str, str]) -> None:
        self.done.append(f"relaunch {name} {env}")

    async def restore(self) -> None:
        self.done.append("restore")

    async def cut(self, name: str, *sides: Side) -> None:
        self.done.append(f"cut {name} {','.join(sides)}")

    async def mend(self, name: str, *sides: Side) -> None:
        self.done.append(f"mend {name} {','.join(sides)}")


def a_stage(verbs: Verbs) -> Stage:
    return Stage("scene", cast("Target", verbs), cast("Eyes", None), Record(), random.Random(1))


@asynccontextmanager
async def armed_and_restored(stage: Stage) -> AsyncIterator[Fault]:
    async with restored(stage), armed(stage, "replica-1", "after_bind=kill@9") as fault:
        yield fault


STRIKES: dict[str, tuple[Strike, str, str]] = {
    "killed": (lambda stage: killed(stage, "replica-1"), "kill replica-1", "launch replica-1"),
    "all killed": (lambda stage: all_killed(stage, ["replica-1"]), "kill replica-1", "launch replica-1"),
    "terminated": (lambda stage: terminated(stage, "replica-1"), "terminate replica-1", "launch replica-1"),
    "frozen": (lambda stage: frozen(stage, "replica-1"), "pause replica-1", "resume replica-1"),
    "stuttering": (
        lambda stage: stuttering(stage, "replica-1", stop_s=5, run_s=5),
        "pause replica-1",
        "resume replica-1",
    ),
    "armed": (
        armed_and_restored,
        "relaunch replica-1 {'MIDDLEMAN_FAILPOINTS': 'after_bind=kill@9'}",
        "restore",
    ),
    "cut": (
        lambda stage: cut(stage, "replica-1", Side.ETCD),
        "cut replica-1 etcd",
        "mend replica-1 etcd",
    ),
    "flapping": (
        lambda stage: flapping(stage, "replica-1", Side.ETCD, bursts=[(5, 5)]),
        "cut replica-1 etcd",
        "mend replica-1 etcd",
    ),
}


@pytest.mark.parametrize(("strike", "blow", "undoing"), STRIKES.values(), ids=STRIKES)
def test_a_fault_is_undone_when_what_happens_inside_fails(strike: Strike, blow: str, undoing: str) -> None:
    async def fail(stage: Stage) -> None:
        async with strike(stage):
            await asyncio.sleep(1)
            raise NotSeenError

    @in_virtual_time
    async def play() -> None:
        verbs = Verbs()
        stage = a_stage(verbs)
        with pytest.raises(NotSeenError):
            await fail(stage)
        assert (verbs.done[0], verbs.done[-1]) == (blow, undoing)
        assert all(fault.ended_at is not None for fault in stage.record.faults)
        struck = len(verbs.done)
        await asyncio.sleep(60)
        assert len(verbs.done) == struck, "nothing strikes on"

    play()


@in_virtual_time
async def test_a_stutter_stops_and_runs_in_turn() -> None:
    verbs = Verbs()
    async with stuttering(a_stage(verbs), "replica-1", stop_s=2, run_s=1):
        await asyncio.sleep(6.5)
    verb = [each.split()[0] for each in verbs.done]
    assert verb == ["pause", "resume", "pause", "resume", "pause", "resume"]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_seed_means_the_same_fault_everywhere_and_can_be_written_down(kind: MixFault) -> None:
    target = cast("Target", Verbs())
    for seed in SEEDS:
        first, again = (dict(kind.draw(random.Random(seed), target)) for _ in range(2))
        assert first == again == json.loads(json.dumps(first))


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_leaders_and_every_replica_are_struck_and_held_by_the_name_that_was_drawn(kind: MixFault) -> None:
    verbs = Verbs()
    drawn = [kind.draw(random.Random(seed), cast("Target", verbs)) for seed in SEEDS]
    assert {settings["whom"] for settings in drawn} == {LEADER, *verbs.replicas}
    assert all(kind.touches(settings) == {settings["whom"]} for settings in drawn)


def test_the_mix_cuts_every_side_in_every_way() -> None:
    kind, target = KINDS["link-cut"], cast("Target", Verbs())
    drawn = [kind.draw(random.Random(seed), target) for seed in range(200)]
    assert {settings["mode"] for settings in drawn} == MODES.keys()
    assert {side for settings in drawn for side in settings["sides"]} == set(EVERYTHING)


@asynccontextmanager
async def a_link(told: bytes = b"N") -> AsyncIterator[Link]:
    """A link to somebody who answers whatever is said."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(told)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        link = Link("link", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        link.start()
        try:
            yield link
        finally:
            await link.close()


@pytest.mark.parametrize("side", [Side.ETCD, Side.POSTGRES])
async def test_a_link_is_asked_whether_anything_comes_back(side: Side) -> None:
    async with a_link() as link:
        assert await answered_after_s(side, link, 5.0) is not None
        for mode in (BLACK_HOLE, MUTE, DEAF, REFUSE):
            link.set_mode(mode)
            assert await answered_after_s(side, link, 0.1) is None, mode
        link.set_mode(delayed(0.1, 0.1))
        took_s = await answered_after_s(side, link, 5.0)
        assert took_s is not None
        assert took_s >= 0.19
        link.set_mode(PASS)
        assert await answered_after_s(side, link, 5.0) is not None


async def test_a_thin_line_is_seen_however_little_there_is_to_bring(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"whom": "replica-1", "sides": ["processor"], "bytes_per_s": 8000}
    async with a_link(b"x" * 800) as link:
        monkeypatch.setattr(partitions, "links_of", lambda *_: [(Side.PROCESSOR, link)])
        stage = a_stage(Verbs())
        async with stage.fault("throttle", "replica-1") as fault:
            with pytest.raises(NotSeenError):
                await partitions.observe_thin(stage, settings, 5.0, fault)
            link.set_mode(throttled(8000, 8000))
            took_s = await partitions.observe_thin(stage, settings, 5.0, fault)
    assert took_s >= 0.1
