"""A member's whole life, with a stand-in that serves HTTP."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.processes import eventually, is_gone, stand_in

from cluster.environment import clean_environment
from cluster.errors import StartError
from cluster.health import answers_ok, http_client
from cluster.leashed import Command
from cluster.ports import HOST, reserve_port
from cluster.process import ManagedProcess

MakeMember = Callable[..., ManagedProcess]


@pytest.fixture
def make_member(tmp_path: Path) -> Iterator[MakeMember]:
    """Makes a stand-in member with the given STAND_IN_* switches."""
    port = reserve_port()

    def make(*, stop_timeout_s: float = 5.0, **switches: str) -> ManagedProcess:
        env = clean_environment() | {f"STAND_IN_{name.upper()}": value for name, value in switches.items()}
        argv = (*stand_in("api"), "--port", str(port.number))
        url = f"http://{HOST}:{port.number}"
        return ManagedProcess(
            name="stand-in",
            kind="api",
            command=lambda: Command(argv, env),
            log_path=tmp_path / "logs" / "stand-in.log",
            probe=lambda: answers_ok(f"{url}/readyz"),
            port=port.number,
            url=url,
            stop_timeout_s=stop_timeout_s,
        )

    yield make
    port.release()


async def test_a_started_member_serves_and_a_stopped_one_is_gone(make_member: MakeMember) -> None:
    member = await make_member().start()
    pid = member.pid
    assert pid is not None
    assert await answers_ok(member.url)
    assert await member.stop() == 0
    assert not member.is_running
    assert member.pid is None
    assert is_gone(pid)


async def test_a_killed_member_restarts_on_the_same_port_under_a_new_pid(make_member: MakeMember) -> None:
    member = await make_member().start()
    first_pid = member.pid
    assert await member.kill() == -signal.SIGKILL
    async with http_client() as client:
        with pytest.raises(httpx.ConnectError):  # refused at once, not swallowed by our hold on the port
            await client.get(member.url)
    await member.restart()
    assert member.pid != first_pid
    assert await answers_ok(member.url)
    await member.stop()


async def test_a_paused_member_is_silent_until_it_is_resumed(make_member: MakeMember) -> None:
    member = await make_member().start()
    member.pause()
    assert member.is_paused
    assert member.is_running
    assert not await answers_ok(member.url)
    member.resume()
    assert not member.is_paused
    assert await answers_ok(member.url)
    await member.stop()


async def test_a_paused_member_can_be_stopped_and_killed(make_member: MakeMember) -> None:
    member = await make_member().start()
    member.pause()
    assert await member.stop() == 0
    await member.start()
    member.pause()
    assert await member.kill() == -signal.SIGKILL


async def test_a_member_deaf_to_sigterm_is_killed_after_its_time(make_member: MakeMember) -> None:
    member = await make_member(stop_timeout_s=0.3, deaf="yes").start()
    assert await member.stop() == -signal.SIGKILL


async def test_a_member_that_dies_while_starting_is_named_with_its_exit_code_and_log(
    make_member: MakeMember,
) -> None:
    with pytest.raises(StartError, match=r"(?s)stand-in died while starting, exit code 3.*dies as told"):
        await make_member(die="3").start()


async def test_a_member_that_never_gets_ready_is_reported_with_the_bound(make_member: MakeMember) -> None:
    member = make_member(never_ready="yes")
    with pytest.raises(StartError, match=r"stand-in \(pid \d+\) was not ready within 0\.5 s"):
        await member.start(timeout_s=0.5)
    assert member.is_running  # its fate is the caller's decision
    await member.kill()


async def test_a_death_from_outside_is_noticed_and_announced(make_member: MakeMember) -> None:
    changes: list[bool] = []
    member = make_member()
    member.on_change = lambda: changes.append(member.is_running)
    await member.start()
    member.send_signal(signal.SIGKILL)
    assert await member.wait_exit(timeout_s=5.0) == -signal.SIGKILL
    await eventually(lambda: changes == [True, False])


async def test_starting_twice_starts_one_process(make_member: MakeMember) -> None:
    member = await make_member().start()
    pid = member.pid
    await member.start()
    assert member.pid == pid
    await member.stop()
    assert await member.stop() == 0  # and stopping twice is harmless
