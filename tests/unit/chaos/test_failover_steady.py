"""When a run may begin, with replicas and a database that say what the test wants."""

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path as FilePath
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.support.virtual_time import in_virtual_time

from chaos.failover import steady
from chaos.failover.logs import Logs
from chaos.failover.plan import Kind, Path, Plan
from chaos.failover.steady import FailoverError, Leader, Watch

SINCE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LEADER = Leader("replica-1", "replica-1#aa", 4, SINCE)


@dataclass
class World:
    """A steady cluster of three, until the test changes something."""

    files: dict[str, FilePath]
    office: dict[str, Any] | None = field(
        default_factory=lambda: {"number": 4, "holder": "replica-1#aa", "started_at": SINCE}
    )
    charging: bool = True
    due: int = 3
    not_ready: set[str] = field(default_factory=set)
    leading: dict[str, int] = field(default_factory=lambda: {"replica-1": 4})
    looks: int = 0
    on_look: Callable[[], None] = lambda: None

    async def fetchrow(self, statement: str) -> dict[str, Any] | None:
        self.looks += 1
        self.on_look()
        return self.office

    async def fetchval(self, statement: str, *values: Any) -> Any:
        return self.charging if "attempt.settled" in statement else self.due

    def answer(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host
        if name in self.not_ready:
            return httpx.Response(503)
        return httpx.Response(200, json={"leads": name in self.leading, "term": self.leading.get(name)})

    def feel(self, replica: str, holder: str, after_s: float = 0.1) -> None:
        at = (SINCE + timedelta(seconds=after_s)).isoformat()
        with self.files[replica].open("a") as log:
            log.write(json.dumps({"event": "pulse.felt", "timestamp": at, "leader": holder}) + "\n")

    async def until_steady(
        self, path: Path = Path.LEASE_ONLY, stop: asyncio.Event | None = None
    ) -> Leader | None:
        replicas: Any = tuple(SimpleNamespace(name=name, url=f"http://{name}") for name in self.files)
        connection: Any = self
        async with httpx.AsyncClient(transport=httpx.MockTransport(self.answer)) as http:
            watch = Watch(Plan(kind=Kind.CRASH), replicas, connection, http, Logs(self.files))
            return await watch.until_steady(path, random.Random(1), stop or asyncio.Event())


@pytest.fixture
def world(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(steady, "PHASE_S", (0.0, 0.01))
    monkeypatch.setattr(steady, "POLL_S", 0.005)
    monkeypatch.setattr(steady, "TIMEOUT_S", 0.2)
    files = {f"replica-{number}": tmp_path / f"{number}.log" for number in (1, 2, 3)}
    for file in files.values():
        file.touch()
    return World(files)


@in_virtual_time
async def test_a_cluster_that_charges_without_a_backlog_is_steady(world: World) -> None:
    assert await world.until_steady() == LEADER


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"not_ready": {"replica-3"}}, "not steady after 0.2 s: replica-3 is not ready"),
        ({"office": None}, "nobody is in office"),
        ({"leading": {}}, "replica-1 holds term 4, but"),
        ({"leading": {"replica-1": 4, "replica-2": 3}}, "'replica-2': 3"),
        ({"leading": {"replica-1": 3}}, "replica-1 holds term 4, but"),
        ({"charging": False}, "replica-1 charges nothing"),
        ({"due": 101}, "replica-1 has a backlog of 101"),
    ],
)
@in_virtual_time
async def test_what_is_missing_is_named(world: World, changes: dict[str, Any], told: str) -> None:
    for name, value in changes.items():
        setattr(world, name, value)
    with pytest.raises(FailoverError, match=told):
        await world.until_steady()


@in_virtual_time
async def test_with_the_pulse_every_follower_has_to_feel_this_very_leader(world: World) -> None:
    world.feel("replica-2", "replica-1#aa")
    world.feel("replica-3", "replica-1#old")
    world.feel("replica-3", "replica-1#aa", after_s=-60)
    with pytest.raises(FailoverError, match="replica-3 not feeling the pulse of replica-1#aa"):
        await world.until_steady(Path.PULSE)
    world.feel("replica-3", "replica-1#aa")
    assert await world.until_steady(Path.PULSE) == LEADER


@in_virtual_time
async def test_a_cluster_that_changes_leaders_meanwhile_is_looked_at_again(world: World) -> None:
    def change() -> None:
        if world.looks == 2:
            world.office = {"number": 5, "holder": "replica-2#bb", "started_at": SINCE}
            world.leading = {"replica-2": 5}

    world.on_look = change
    found = await world.until_steady()
    assert found == Leader("replica-2", "replica-2#bb", 5, SINCE)
    assert world.looks == 4


@in_virtual_time
async def test_who_is_told_to_stop_does_not_wait_for_a_steady_cluster(world: World) -> None:
    stop = asyncio.Event()
    world.office = None
    world.on_look = stop.set
    assert await world.until_steady(stop=stop) is None
