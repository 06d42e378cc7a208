"""What the stack is built for: each fault, who leads afterwards and how soon, and the judge's verdict."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.compose.conftest import Note, Step
from tests.support.compose_stack import Stack, disconnect, docker, reconnect, until


def _verdict_holds(stack: Stack) -> None:
    verdict = stack.verdict()
    assert verdict["holds"], verdict


def _ready(stack: Stack, replicas: int) -> None:
    def healthy() -> bool | None:
        states = [each["State"]["Health"]["Status"] for each in stack.containers("replica")]
        return True if states == ["healthy"] * replicas else None

    until(healthy, f"{replicas} replicas are ready")


def _died_at(container: str) -> datetime:
    return datetime.fromisoformat(docker("inspect", "--format", "{{.State.FinishedAt}}", container).strip())


def _take_over(stack: Stack, term: int, since: datetime) -> float:
    """Seconds from `since` to the first charge of the next term."""
    _, at = stack.first_charge(after_term=term)
    return (at - since).total_seconds()


@pytest.mark.parametrize("_round", range(3))
def test_a_killed_leader_loses_its_lease_to_its_followers_at_once(
    stack: Stack, note: Note, _round: int
) -> None:
    _ready(stack, 3)
    stack.charges_go_on()
    leader, term = stack.leader()
    docker("kill", leader)
    died_at = _died_at(leader)
    took_s = _take_over(stack, term, died_at)
    measured = _measured(stack, died_at)
    note(
        "docker kill of the leader → successor in office, by its own clock",
        f"{measured['in_office_ms']:.0f} ms",
    )
    note(f"… → first charge, by the database's clock{_waited(measured)}", f"{took_s * 1000:.0f} ms")
    # Its followers took the lease away, whatever else this machine was busy with.
    assert "leader.revoked" in _logged_since(stack, died_at)
    docker("start", leader)
    _verdict_holds(stack)


def test_a_leader_cut_off_from_etcd_is_replaced_and_comes_back_as_a_follower(
    stack: Stack, note: Note
) -> None:
    _ready(stack, 3)
    stack.charges_go_on()
    network = f"{stack.project}_coordination"
    leader, term = stack.leader()
    cut_at = datetime.now(UTC)
    aliases = disconnect(network, leader)
    try:
        took_s = _take_over(stack, term, cut_at)
        successor = stack.get("/v1/leadership")["term"]
        office_s = (datetime.fromisoformat(successor["started_at"]) - cut_at).total_seconds()
        note("leader cut off from etcd → successor in office (lease of 3 s)", f"{office_s:.2f} s")
        note(f"… → first charge{_waited(_measured(stack, cut_at))}", f"{took_s:.2f} s")
        assert stack.leader()[0] != leader
        assert _leads(stack, leader) is False
    finally:
        reconnect(network, leader, aliases)
    _ready(stack, 3)
    _verdict_holds(stack)


@pytest.mark.parametrize("network", ["data", "processor", "pulses"])
def test_a_leader_cut_off_from_anything_else_charges_nobody_twice(
    stack: Stack, note: Note, network: str
) -> None:
    _ready(stack, 3)
    stack.charges_go_on()
    leader, _ = stack.leader()
    full_name = f"{stack.project}_{network}"
    cut_s, cut_at = time.monotonic(), datetime.now(UTC)
    aliases = disconnect(full_name, leader)
    try:
        if network == "pulses":  # silence is no evidence, and pulses are no need
            stack.charges_go_on()
            assert "leader.revoked" not in _logged_since(stack, cut_at)
        else:  # it gives up by itself
            until(lambda: True if stack.leader()[0] != leader else None, "another replica leads", 60)
            note(f"leader cut off from {network} → another leads", f"{time.monotonic() - cut_s:.1f} s")
    finally:
        reconnect(full_name, leader, aliases)
    _ready(stack, 3)
    stack.charges_go_on()
    _verdict_holds(stack)


def test_an_etcd_member_may_die(stack: Stack, step: Step, note: Note) -> None:
    _ready(stack, 3)
    leader = stack.leader()
    member = stack.containers("etcd-2")[0]["Id"]
    docker("kill", member)
    stack.charges_go_on()
    with step("an etcd member killed: healthy again after its start"):
        docker("start", member)
        until(lambda: _health(stack, "etcd-2") == "healthy" or None, "the member is back")
    note("… and the leader", "stayed" if stack.leader() == leader else "changed")
    _verdict_holds(stack)


def test_postgres_may_restart(stack: Stack, step: Step) -> None:
    database = stack.containers("postgres")[0]["Id"]
    docker("kill", database)
    with step("Postgres killed: charging again after its start"):
        docker("start", database)
        until(lambda: _health(stack, "api") == "healthy" or None, "the API is ready")
        stack.charges_go_on()
    _verdict_holds(stack)


def test_a_replica_that_dies_by_itself_is_started_again(stack: Stack) -> None:
    _ready(stack, 3)
    follower = next(each for each in stack.containers("replica") if each["Id"][:12] != stack.leader()[0])
    stack_pid = str(follower["State"]["Pid"])
    docker("exec", follower["Id"], "python", "-c", "import os, signal; os.kill(1, signal.SIGTERM)")

    def restarted() -> bool | None:
        state = next(each for each in stack.containers("replica") if each["Id"] == follower["Id"])["State"]
        return True if str(state["Pid"]) not in ("0", stack_pid) else None

    until(restarted, "the container runs again")
    _ready(stack, 3)


def test_replicas_can_be_scaled(stack: Stack, step: Step) -> None:
    with step("up --scale replica=5"):
        stack.compose("up", "-d", "--no-recreate", "--wait", "--scale", "replica=5")
    fresh = [each for each in stack.get("/v1/leadership")["replicas"] if not each["stale"]]
    assert len({each["name"] for each in fresh}) == 5
    stack.compose("up", "-d", "--no-recreate", "--wait", "--scale", "replica=3")
    stack.charges_go_on()
    _verdict_holds(stack)


def test_a_stack_taken_down_goes_on_where_it_was(stack: Stack, step: Step) -> None:
    before = stack.get("/v1/subscriptions", limit=1)["data"][0]["id"]
    term = stack.leader()[1]
    stack.compose("down", "--timeout", "15")
    with step("down and up again, with the volumes"):
        stack.compose("up", "-d", "--wait", "--wait-timeout", "240")
    assert stack.get(f"/v1/subscriptions/{before}")["id"] == before
    assert stack.leader()[1] > term
    stack.charges_go_on()
    told = stack.compose("logs", "--no-log-prefix", "welcome")
    assert stack.api_key not in told  # it was shown once


def test_at_rest_nothing_is_open_and_the_verdict_holds(stack: Stack, note: Note) -> None:
    stack.compose("stop", "demo")  # and with it the clock
    assert stack.get("/v1/test_clock")["rate"] == 0

    def at_rest() -> dict[str, Any] | None:
        verdict = stack.verdict("--require-rest")
        return verdict if verdict["at_rest"] else None

    verdict = until(at_rest, "everything comes to rest", 90)
    assert verdict["holds"], verdict
    note("periods charged, terms", f"{verdict['counts']['charges_succeeded']}, {verdict['counts']['terms']}")
    stack.compose("start", "demo")


def _health(stack: Stack, service: str) -> str:
    return str(stack.containers(service)[0]["State"]["Health"]["Status"])


def _leads(stack: Stack, container: str) -> bool:
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9000/leader', timeout=3).read().decode())"
    told = docker("exec", container, "python", "-c", ask)
    return '"leads": true' in told


def _measured(stack: Stack, since: datetime) -> dict[str, Any]:
    """The line in which the first successor since then says where its time went."""

    def found() -> dict[str, Any] | None:
        lines = (line for line in _logged_since(stack, since).splitlines() if "takeover.measured" in line)
        return min(map(json.loads, lines), key=lambda line: line["token"], default=None)

    return until(found, "the successor tells how long it took")


def _waited(measured: dict[str, Any]) -> str:
    return ", nothing being due before" if measured["idle"] else ""


def _logged_since(stack: Stack, since: datetime) -> str:
    return stack.compose("logs", "--no-log-prefix", "--since", since.isoformat(), "replica")
