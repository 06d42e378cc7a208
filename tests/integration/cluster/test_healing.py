"""The real cluster after everything was broken at once; and the sandbox, restarted under load."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.support.fault_witnesses import Witnesses, until
from tests.support.processes import eventually

from cluster.cluster import Cluster
from cluster.errors import NotPermittedError
from cluster.health import http_client
from cluster.links import BLACK_HOLE, DEAF, PASS, REFUSE, throttled
from cluster.process import ManagedProcess
from cluster.spec import ClusterSpec

DUE = 30


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cluster(server_root: Path) -> AsyncIterator[Cluster]:
    """Real members, two of each of ours, and links."""
    spec = ClusterSpec(data_dir=server_root / "healing", replicas=2, apis=2, links=True)
    async with Cluster(spec) as cluster:
        yield cluster


async def leader(cluster: Cluster) -> ManagedProcess:
    """Wait for a replica that says that it leads."""

    async def look() -> ManagedProcess | None:
        async with http_client() as client:
            for replica in cluster.replicas:
                try:
                    told = (await client.get(f"{replica.url}/leader")).json()
                except httpx.HTTPError:
                    continue
                if told["role"] == "leader":
                    return replica
        return None

    return await until(look)


async def test_the_apis_share_one_state(cluster: Cluster) -> None:
    first, second = cluster.apis
    headers = {"Authorization": f"Bearer {cluster.keys.api_key}"}
    order = {
        "name": "Shared",
        "amount_minor": 999,
        "currency": "EUR",
        "interval": {"unit": "month", "count": 1},
    }
    async with httpx.AsyncClient(headers=headers, timeout=10) as client:
        made = await client.post(
            f"{first.url}/v1/plans", json=order, headers={"Idempotency-Key": "shared-plan"}
        )
        assert made.status_code == httpx.codes.CREATED, made.text
        repeated = await client.post(
            f"{second.url}/v1/plans", json=order, headers={"Idempotency-Key": "shared-plan"}
        )
        assert repeated.json()["id"] == made.json()["id"]
        read = await client.get(f"{second.url}/v1/plans/{made.json()['id']}")
        assert read.json()["name"] == "Shared"


async def test_a_leader_hands_over_when_asked_with_the_token_of_the_cluster(cluster: Cluster) -> None:
    first = await leader(cluster)
    async with http_client() as client:
        assert (await client.post(f"{first.url}/leader/resign")).status_code == httpx.codes.UNAUTHORIZED
        headers = {"Authorization": f"Bearer {cluster.state().ops_token}"}
        answer = await client.post(f"{first.url}/leader/resign", headers=headers)
        assert answer.status_code == httpx.codes.ACCEPTED

    async def look() -> bool | None:
        return (await leader(cluster)) is not first or None

    await until(look)


async def test_everything_is_back_after_everything_was_broken_at_once(
    cluster: Cluster, short_dir: Path
) -> None:
    witnesses = Witnesses(cluster)
    await leader(cluster)
    first, second = (cluster.links(name) for name in ("replica-1", "replica-2"))
    await cluster.etcd.snapshot(short_dir / "etcd.db")
    prefix = await witnesses.subscribe(DUE)

    first.postgres.set_mode(throttled(requests_bytes_per_s=100, answers_bytes_per_s=100))
    first.etcd.set_mode(DEAF)
    first.peer.set_mode(REFUSE)
    second.etcd[0].set_mode(BLACK_HOLE)
    second.etcd[1].reset()
    assert second.processor is not None
    second.processor.set_mode(throttled(answers_bytes_per_s=10))
    await cluster.postgres.terminate_sessions(dice=random.Random(1), share=0.5)
    await cluster.postgres.crash_restart()
    await cluster.sandbox.kill()
    await cluster.etcd.restore(short_dir / "etcd.db")
    await cluster.etcd.members[0].kill()
    cluster.etcd.members[1].pause()
    cluster.apis[0].pause()
    await cluster.apis[1].kill()
    await cluster.replicas[1].kill()
    cluster.postgres.pause()
    async with cluster.replicas[0].stutter(stop_s=30, run_s=0.01):
        await cluster.heal()
        assert not cluster.replicas[0].is_paused

    assert all([await member.is_ready() for member in cluster.members])
    assert not any(member.is_paused for member in cluster.members)
    assert {link.mode for links in (first, second) for link in links.all} == {PASS}
    await witnesses.assert_charged_once(prefix, DUE)
    await witnesses.assert_verdict_holds()


async def test_a_database_whose_log_fills_its_disk_is_healed_while_it_still_lies_there(
    cluster: Cluster,
) -> None:
    witnesses = Witnesses(cluster)
    try:
        async with cluster.postgres.wal_on_small_disk() as wal:
            await cluster.heal()
            await wal.fill()
            await eventually(lambda: "PANIC" in cluster.postgres.log_tail(100))  # and then it ends, or hangs
            await cluster.heal()
            assert not wal.is_full
            prefix = await witnesses.subscribe(DUE)
            await witnesses.assert_charged_once(prefix, DUE)
    except NotPermittedError as error:
        pytest.skip(str(error))
    await cluster.heal()
    await witnesses.assert_verdict_holds()


async def test_a_sandbox_restarted_under_load_knows_all_that_it_answered(cluster: Cluster) -> None:
    witnesses = Witnesses(cluster)
    answered: list[str] = []
    failures: list[str] = []
    stopping = asyncio.Event()

    async def create(worker: int) -> None:
        async with witnesses.sandbox() as client:
            number = 0
            while not stopping.is_set():
                number += 1
                key = {"Idempotency-Key": f"load-{worker}-{number}"}
                try:
                    answer = await client.post("/v1/customers", data={"name": f"{worker}"}, headers=key)
                except httpx.TransportError as error:
                    failures.append(type(error).__name__)
                    await asyncio.sleep(0.02)
                else:
                    answered.append(answer.raise_for_status().json()["id"])

    async def until_answered(count: int) -> None:
        async def look() -> bool | None:
            return len(answered) >= count or None

        await until(look)

    workers = [asyncio.create_task(create(number)) for number in range(4)]
    try:
        await until_answered(20)
        await cluster.sandbox.restart()
        await until_answered(len(answered) + 20)
        await cluster.sandbox.restart(graceful=False)
        await until_answered(len(answered) + 20)
    finally:
        stopping.set()
        await asyncio.gather(*workers)
    assert failures, "somebody called while it was down"
    assert len(set(answered)) == len(answered)
    async with witnesses.sandbox() as client:
        for customer in answered:
            assert (await client.get(f"/v1/customers/{customer}")).status_code == httpx.codes.OK
