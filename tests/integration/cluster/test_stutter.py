"""A member that is frozen in bursts: slow, but never gone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.support.processes import eventually, stand_in

from cluster.environment import clean_environment
from cluster.errors import ClusterError
from cluster.health import answers_ok, http_client
from cluster.leashed import Command
from cluster.ports import HOST, reserve_port
from cluster.process import ManagedProcess


@pytest_asyncio.fixture
async def member(tmp_path: Path) -> AsyncIterator[ManagedProcess]:
    """A stand-in that serves HTTP."""
    port = reserve_port()
    url = f"http://{HOST}:{port.number}"
    argv = (*stand_in("api"), "--port", str(port.number))
    member = ManagedProcess(
        name="stand-in",
        kind="api",
        command=lambda: Command(argv, clean_environment()),
        log_path=tmp_path / "stand-in.log",
        probe=lambda: answers_ok(f"{url}/readyz"),
        port=port.number,
        url=url,
    )
    yield await member.start()
    await member.kill()
    port.release()


def is_stopped(member: ManagedProcess) -> bool:
    """What the kernel says."""
    return Path(f"/proc/{member.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


async def test_it_stops_and_goes_by_turns_and_answers_late(member: ManagedProcess) -> None:
    async with member.stutter(stop_s=0.15, run_s=1), http_client(5.0) as client:
        for _ in range(2):
            await eventually(lambda: is_stopped(member))
            assert (await client.get(member.url)).is_success
            assert not is_stopped(member)
    assert not member.is_paused
    assert not is_stopped(member)


async def test_it_goes_on_however_the_block_is_left(member: ManagedProcess) -> None:
    async def cut_short() -> None:
        async with member.stutter(stop_s=60, run_s=60):
            await eventually(lambda: is_stopped(member))
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        await cut_short()
    assert await answers_ok(member.url)


async def test_resuming_it_ends_the_stutter(member: ManagedProcess) -> None:
    async with member.stutter(stop_s=0.05, run_s=0.05):
        await eventually(lambda: is_stopped(member))
        member.resume()
        for _ in range(20):
            assert not is_stopped(member)
            await asyncio.sleep(0.01)  # two bursts would have begun by now
        assert await answers_ok(member.url)


async def test_it_can_be_killed_and_started_in_the_middle(member: ManagedProcess) -> None:
    async with member.stutter(stop_s=0.05, run_s=0.2):
        await eventually(lambda: is_stopped(member))
        await member.kill()
        await member.start()
        await eventually(lambda: is_stopped(member))
    assert await answers_ok(member.url)


async def test_it_can_be_stopped_gracefully_in_the_middle(member: ManagedProcess) -> None:
    async with member.stutter(stop_s=60, run_s=60):
        await eventually(lambda: is_stopped(member))
        assert await member.stop() == 0


async def test_one_stutter_at_a_time_and_none_without_a_bound(member: ManagedProcess) -> None:
    async with member.stutter(stop_s=0.05, run_s=0.05):
        with pytest.raises(ClusterError, match="stand-in stutters already"):
            async with member.stutter(stop_s=0.05, run_s=0.05):
                raise AssertionError("it was let in")
    with pytest.raises(ValueError, match="stop_s=61: must be above 0 and at most 60"):
        async with member.stutter(stop_s=61, run_s=1):
            raise AssertionError("it was let in")
