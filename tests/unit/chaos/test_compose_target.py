"""The verbs on a compose stack, on an engine in memory: what each asks of Docker, and what it leaves behind."""

from pathlib import Path

import httpx
import pytest
from tests.support.fake_engine import PROJECT, FakeEngine

from chaos.drive import compose
from chaos.drive.compose import ComposeTarget
from chaos.drive.compose_engine import Engine
from chaos.drive.compose_log import ContainerLog
from chaos.drive.compose_members import Members
from chaos.drive.compose_place import Place
from chaos.drive.compose_probes import Probes
from chaos.drive.compose_stack import compose_target
from chaos.drive.target import EVERYTHING, Need, Side, TargetError

SECRETS = (
    "operator/api-key",
    "operator/judge-database-url",
    "operator/sandbox-admin-key",
    "operator/ops-token",
    "owner/database-url",
    "sandbox/api-key",
)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in SECRETS:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"the {name}\n")
    return Place(PROJECT, tmp_path)


def everybody_answers(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="etcd_server_has_leader 1\netcd_server_is_leader 0\n")


async def target_on(fake: FakeEngine, place: Place, answer: object = everybody_answers) -> ComposeTarget:
    engine = fake.engine()
    await engine.open()
    members, networks = Members.find(engine, PROJECT), engine.networks(PROJECT)
    return ComposeTarget(engine, place, members, networks, Probes(httpx.MockTransport(answer)))  # type: ignore[arg-type]  # a handler


async def test_a_replica_is_called_what_it_calls_itself(place: Place) -> None:
    fake = FakeEngine.stack(replicas=2)
    target = await target_on(fake, place)
    assert list(target.replicas) == [fake.of("replica", number).id[:12] for number in (1, 2)]
    assert list(target.etcd_members) == ["etcd-1", "etcd-2", "etcd-3"]
    assert set(target.access.ops_urls) == set(target.replicas)
    assert target.lease_ttl_s == 3


@pytest.mark.parametrize(("apis", "can"), [(1, set()), (2, {Need.SECOND_API})])
async def test_it_says_what_it_cannot_do(place: Place, apis: int, can: set[Need]) -> None:
    target = await target_on(FakeEngine.stack(apis=apis), place)
    assert target.can == can
    with pytest.raises(TargetError, match="local cluster"):
        _ = target.cluster
    with pytest.raises(TargetError, match="keeps its settings"):
        await target.relaunch(target.replicas[0], {"MIDDLEMAN_FAILPOINTS": "after_bind=kill"})


async def test_the_keys_are_read_from_the_stacks_own_volumes(place: Place) -> None:
    access = (await target_on(FakeEngine.stack(), place)).access
    assert access.api_key == "the operator/api-key"
    assert access.database_url == "the owner/database-url"
    assert access.webhook_secret == "", "as in a stack from before there were webhooks"
    (place.secrets_dir / "operator/stripe-webhook-secret").write_text("whsec_x\n")
    assert (await target_on(FakeEngine.stack(), place)).access.webhook_secret == "whsec_x"
    (place.secrets_dir / "sandbox/api-key").unlink()
    with pytest.raises(TargetError, match=r"sandbox/api-key.*init"):
        _ = (await target_on(FakeEngine.stack(), place)).access


async def test_who_is_killed_died_by_a_signal_and_who_is_asked_leaves_by_itself(place: Place) -> None:
    target = await target_on(FakeEngine.stack(), place)
    first, second, _ = target.replicas
    await target.kill(first)
    await target.terminate(second)
    assert [target.is_running(name) for name in target.replicas] == [False, False, True]
    assert [target.exit_code(name) for name in target.replicas] == [-9, 0, None]
    await target.kill(first)  # dead already
    await target.launch(first)
    assert target.is_running(first)


async def test_who_is_frozen_can_be_started_and_killed(place: Place) -> None:
    target = await target_on(FakeEngine.stack(), place)
    name = target.replicas[0]
    await target.pause(name)
    assert target.is_paused(name)
    await target.launch(name)
    assert not target.is_paused(name)
    await target.resume(name)  # not frozen: nothing happens
    await target.pause(name)
    await target.kill(name)
    assert not target.is_running(name)


async def test_a_holder_whose_container_was_removed_does_not_run(place: Place) -> None:
    target = await target_on(FakeEngine.stack(), place)
    assert not target.is_running("0123456789ab")
    with pytest.raises(TargetError, match="no member"):
        await target.kill("0123456789ab")


async def test_a_cut_takes_it_off_that_network_and_a_mend_brings_its_names_back(place: Place) -> None:
    fake = FakeEngine.stack()
    target = await target_on(fake, place)
    before = dict(fake.of("replica").networks)
    name = target.replicas[0]
    await target.cut(name, Side.ETCD)
    assert before.keys() - fake.of("replica").networks.keys() == {f"{PROJECT}_coordination"}
    await target.cut(name, Side.ETCD)  # cut already
    await target.mend(name)
    assert fake.of("replica").networks == before


async def test_cut_off_from_everything_it_can_still_be_looked_at(place: Place) -> None:
    fake = FakeEngine.stack()
    target = await target_on(fake, place)
    name = target.replicas[0]
    await target.cut(name, *EVERYTHING)
    assert list(fake.of("replica").networks) == [f"{PROJECT}_operations"]
    assert await target.answers(name)
    await target.mend(name, Side.PEERS)
    assert set(fake.of("replica").networks) == {f"{PROJECT}_operations", f"{PROJECT}_pulses"}


async def test_healing_undoes_everything_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serves(_probes: Probes, _url: str) -> bool:
        return True

    monkeypatch.setattr(Probes, "database_serves", serves)
    fake = FakeEngine.stack()
    target = await target_on(fake, place)
    before = {c.id: set(c.networks) for c in fake.containers.values()}
    first, second, third = target.replicas
    await target.cut(first, *EVERYTHING)
    await target.pause(second)
    await target.kill(third)
    await target.kill("postgres")
    await target.heal()
    assert {c.status for c in fake.containers.values()} == {"running"}
    assert {c.id: set(c.networks) for c in fake.containers.values()} == before


async def test_who_never_becomes_ready_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "START_TIMEOUT_S", 0.05)
    target = await target_on(FakeEngine.stack(), place, lambda _: httpx.Response(503))
    with pytest.raises(TargetError, match="sandbox is not ready within"):
        await target.start("sandbox")


async def test_an_address_is_looked_up_anew_after_each_start(place: Place) -> None:
    target = await target_on(FakeEngine.stack(), place)
    name = target.replicas[0]
    before = target.access.ops_urls[name]
    await target.kill(name)
    assert target.access.ops_urls[name] == before  # whom to ask in vain
    await target.launch(name)
    assert target.access.ops_urls[name] != before


@pytest.mark.parametrize(
    ("leading", "knowing", "found"),
    [
        ({"10.0.1.1"}, {"10.0.1.1", "10.0.1.2"}, "etcd-1"),
        ({"10.0.1.1"}, {"10.0.1.1"}, None),  # a minority knows of it
        ({"10.0.1.1", "10.0.1.2"}, {"10.0.1.1", "10.0.1.2", "10.0.1.3"}, None),  # one of them is of yesterday
        (set(), {"10.0.1.1", "10.0.1.2"}, None),
    ],
)
async def test_etcds_leader_is_one_that_a_majority_agrees_on(
    leading: set[str], knowing: set[str], found: str | None
) -> None:
    def metrics(request: httpx.Request) -> httpx.Response:
        host = request.url.host
        lines = [
            f"etcd_server_is_leader {int(host in leading)}",
            f"etcd_server_has_leader {int(host in knowing)}",
        ]
        return httpx.Response(200, text="\n".join(lines) + "\n")

    async with Probes(httpx.MockTransport(metrics)) as probes:
        hosts = {f"etcd-{number}": f"10.0.1.{number}" for number in (1, 2, 3)}
        assert await probes.raft_leader(hosts) == found


async def test_a_stack_with_somebody_missing_is_refused_with_what_to_do() -> None:
    engine = FakeEngine.stack(without=["api", "etcd-2"]).engine()
    await engine.open()
    with pytest.raises(TargetError, match=r"has no etcd-2, api: start it with `docker compose up"):
        Members.find(engine, PROJECT)


@pytest.mark.parametrize(("oldest", "spoken"), [("1.12", "v1.41"), ("1.44", "v1.44")])
async def test_old_engines_and_new_ones_are_spoken_to_in_a_version_they_know(
    oldest: str, spoken: str
) -> None:
    fake = FakeEngine.stack()
    fake.oldest_api = oldest
    engine = fake.engine()
    await engine.open()
    engine.containers(PROJECT)
    assert fake.calls == [f"GET /{spoken}/containers/json"]


async def test_what_the_engine_refuses_is_told_in_its_words(place: Place) -> None:
    fake = FakeEngine.stack()
    target = await target_on(fake, place)
    fake.refuses = {"kill", "disconnect"}
    with pytest.raises(TargetError, match=r"docker kill \w{12}: no such luck"):
        await target.kill(target.replicas[0])
    with pytest.raises(TargetError, match=r"docker network disconnect .* no such luck"):
        await target.cut(target.replicas[0], Side.ETCD)


async def test_an_engine_that_is_not_there_is_named(tmp_path: Path) -> None:
    engine = Engine.at(tmp_path / "docker.sock")
    with pytest.raises(TargetError, match=r"does not answer .* is its socket mounted"):
        await engine.open()
    await engine.close()


async def test_a_log_is_read_on_from_where_it_was_read_to(place: Place) -> None:
    fake = FakeEngine.stack()
    target = await target_on(fake, place)
    name, container = target.replicas[0], fake.of("replica")

    def write(second: int, event: str) -> None:
        at = f"2026-03-01T10:00:{second:02}.000000001Z"
        container.log.append((at, f'{{"event": "{event}", "timestamp": "{at}"}}'))

    assert target.log(name) == []
    write(1, "pulse.felt")
    container.log.append(("2026-03-01T10:00:01.000000002Z", "Traceback (most recent call last):"))
    assert [line["event"] for line in target.log(name)] == ["pulse.felt"]
    write(2, "term.started")
    write(3, "term.ended")
    assert [line["event"] for line in target.log(name)] == ["pulse.felt", "term.started", "term.ended"]


async def test_more_lines_than_the_tail_has_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chaos.drive.compose_log.TAIL", 3)
    fake = FakeEngine.stack()
    container = fake.of("replica")
    engine = fake.engine()
    await engine.open()
    log = ContainerLog(engine, container.id)
    for many in (1, 7, 2):
        for _ in range(many):
            number = len(container.log)
            at = f"2026-03-01T10:00:{number:02}.000000000Z"
            container.log.append((at, f'{{"event": "e{number}", "timestamp": "{at}"}}'))
        assert [line["event"] for line in log.lines()] == [f"e{n}" for n in range(len(container.log))]


async def test_the_demo_is_held_while_others_set_the_clock_and_goes_on_afterwards(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeEngine.stack()
    monkeypatch.setattr(Engine, "at", lambda _socket: fake.engine())
    async with compose_target(place) as target:
        assert fake.of("demo").status == "exited"
        await target.pause(target.replicas[0])
        await target.cut(target.replicas[1], Side.POSTGRES)
    assert {c.status for c in fake.containers.values()} == {"running"}
    assert f"{PROJECT}_data" in fake.of("replica", 2).networks


async def test_a_stack_that_charges_at_stripe_is_not_hurt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRIPE_API_KEY", "given")
    with pytest.raises(TargetError, match="charges at Stripe"):
        Place.from_environment()
