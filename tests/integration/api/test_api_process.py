"""The real process: it starts, refuses to start, stops, and loses nothing that it acknowledged."""

import asyncio
import signal
import socket
from pathlib import Path

import httpx
import pytest
from tests.integration.api.api_process import COMMAND, ApiProcess, environment, running
from tests.integration.api.conftest import CUSTOMER, PLAN
from tests.support.database import Database

from cluster.postgres import PostgresServer
from cluster.sandbox import SandboxServer
from middleman.adapters.postgres.api_keys import create_api_key
from middleman.adapters.postgres.engine import owner_engine

ACKNOWLEDGED = 40


@pytest.fixture
async def api_key(database: Database) -> str:
    owner = owner_engine(database.dsn())
    try:
        return await create_api_key(owner, "test", ("read", "write"))
    finally:
        await owner.dispose()


async def acknowledge_until_cut(api: ApiProcess, cut: asyncio.Event) -> list[str]:
    """Create plans until the connection breaks; the ids of all that were acknowledged. Sets `cut` on the way."""
    acknowledged: list[str] = []

    async def create(worker: int) -> None:
        for n in range(10_000):
            key = {"Idempotency-Key": f"{worker}-{n}"}
            try:
                answer = await api.client.post("/v1/plans", json=PLAN, headers=key)
            except httpx.TransportError:
                return
            if answer.status_code != 201:
                return
            acknowledged.append(answer.json()["id"])
            if len(acknowledged) >= ACKNOWLEDGED:
                cut.set()

    await asyncio.gather(*(create(worker) for worker in range(4)))
    return acknowledged


async def stored(database: Database) -> set[str]:
    async with database.connect() as owner:
        return {row["id"] for row in await owner.fetch("SELECT id FROM plans")}


async def test_acknowledged_writes_survive_a_sigkill_of_the_api(
    database: Database, tmp_path: Path, api_key: str
) -> None:
    async with running(database, tmp_path / "api.log", api_key) as api:
        cut = asyncio.Event()
        writing = asyncio.create_task(acknowledge_until_cut(api, cut))
        await asyncio.wait_for(cut.wait(), 30)
        assert await api.end(signal.SIGKILL) == -signal.SIGKILL
        acknowledged = await asyncio.wait_for(writing, 30)
    assert len(acknowledged) >= ACKNOWLEDGED
    assert set(acknowledged) <= await stored(database)


async def test_acknowledged_writes_survive_a_sigkill_of_postgres(
    database: Database, tmp_path: Path, api_key: str, migrated_server: PostgresServer
) -> None:
    async with running(database, tmp_path / "api.log", api_key) as api:
        cut = asyncio.Event()
        writing = asyncio.create_task(acknowledge_until_cut(api, cut))
        await asyncio.wait_for(cut.wait(), 30)
        try:
            await migrated_server.kill()
            acknowledged = await asyncio.wait_for(writing, 60)
            away = await api.client.get("/readyz")
        finally:
            await migrated_server.start()
        assert away.status_code == 503
        assert len(acknowledged) >= ACKNOWLEDGED
        assert set(acknowledged) <= await stored(database)
        # The same process goes on by itself, and a repeat gets the first answer.
        await api.wait_ready()
        again = await api.client.post("/v1/plans", json=PLAN, headers={"Idempotency-Key": "0-0"})
        assert again.headers["Idempotent-Replayed"] == "true"
        assert again.json()["id"] in acknowledged


async def test_a_customer_is_made_through_the_real_processor_and_its_repeat_survives_a_restart(
    database: Database, tmp_path: Path, api_key: str, sandbox_server: SandboxServer
) -> None:
    key = {"Idempotency-Key": "real"}
    async with running(database, tmp_path / "one.log", api_key, sandbox_server) as api:
        first = await api.client.post("/v1/customers", json=CUSTOMER, headers=key)
        assert first.status_code == 201, first.text
        assert await api.end(signal.SIGKILL) == -signal.SIGKILL
    async with running(database, tmp_path / "two.log", api_key, sandbox_server) as api:
        again = await api.client.post("/v1/customers", json=CUSTOMER, headers=key)
        declined = await api.client.post(
            "/v1/customers", json=CUSTOMER | {"payment_method": "pm_card_chargeDeclined"}
        )
    assert again.content == first.content
    assert declined.status_code == 402


async def test_sigterm_lets_a_request_at_work_end_and_exits_with_0(
    database: Database, tmp_path: Path, api_key: str
) -> None:
    async with running(database, tmp_path / "api.log", api_key) as api, database.connect() as owner:
        plan = (await api.client.post("/v1/plans", json=PLAN)).json()
        transaction = owner.transaction()
        await transaction.start()
        await owner.execute("SELECT 1 FROM plans WHERE id = $1 FOR UPDATE", plan["id"])
        archiving = asyncio.create_task(api.client.post(f"/v1/plans/{plan['id']}/archive"))
        async with asyncio.timeout(10):
            while "Lock" not in {  # noqa: ASYNC110  # another session's lock sets no event of ours
                row["wait_event_type"]
                for row in await owner.fetch(
                    "SELECT wait_event_type FROM pg_stat_activity WHERE datname = current_database()"
                )
            }:
                await asyncio.sleep(0.01)
        api.process.send_signal(signal.SIGTERM)
        await transaction.commit()
        assert (await asyncio.wait_for(archiving, 15)).json()["active"] is False
        assert await asyncio.wait_for(api.process.wait(), 20) == 0


async def misconfigured(changes: dict[str, str | None]) -> tuple[int, str]:
    """Exit status and what was printed."""
    told = environment("postgresql://middleman_api:secret-word@127.0.0.1:1/middleman", 0) | {
        name: value for name, value in changes.items() if value is not None
    }
    for name, value in changes.items():
        if value is None:
            del told[name]
    process = await asyncio.create_subprocess_exec(
        *COMMAND, env=told, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), 20)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, printed.decode()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"MIDDLEMAN_DATABASE_URL": None}, "MIDDLEMAN_DATABASE_URL"),
        ({"MIDDLEMAN_API_HOST": "203.0.113.7"}, "MIDDLEMAN_API_HOST"),
    ],
)
async def test_a_misconfiguration_is_one_line_and_exit_2(changes: dict[str, str | None], named: str) -> None:
    code, printed = await misconfigured(changes)
    assert code == 2, printed
    assert len(printed.splitlines()) == 1
    assert named in printed
    assert "secret-word" not in printed


async def test_a_busy_port_is_one_line_and_exit_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, printed = await misconfigured({"MIDDLEMAN_API_PORT": port})
    assert code == 2
    assert len(printed.splitlines()) == 1
    assert port in printed
