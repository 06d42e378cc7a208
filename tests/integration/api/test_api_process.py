"""The real process: it starts, refuses to start, stops, and loses nothing that it acknowledged."""

import asyncio
import json
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.integration.api.api_process import COMMAND, ApiProcess, environment, running
from tests.integration.api.conftest import CUSTOMER, PLAN
from tests.support.database import Database

from cluster.postgres import PostgresServer
from cluster.sandbox import SandboxServer
from middleman.adapters.postgres.api_keys import create_api_key
from middleman.adapters.postgres.engine import owner_engine

ACKNOWLEDGED = 10
"""Of each kind, before the kill."""
KINDS = ("plan", "customer", "subscription", "cancellation")


@pytest.fixture
async def api_key(database: Database) -> str:
    owner = owner_engine(database.dsn())
    try:
        return await create_api_key(owner, "test", ("read", "write"))
    finally:
        await owner.dispose()


@dataclass(frozen=True, slots=True)
class Write:
    """One write that was acknowledged: what was asked, and the answer."""

    path: str
    body: dict[str, Any]
    key: str
    answer: dict[str, Any]


class _Cut(Exception):
    """The connection broke, or the API said that something is away."""


async def acknowledge_until_cut(api: ApiProcess, cut: asyncio.Event) -> dict[str, list[Write]]:
    """Make and cancel until the connection breaks; all that was acknowledged, by kind. Sets `cut` on the way."""
    acknowledged: dict[str, list[Write]] = {kind: [] for kind in KINDS}

    async def write(kind: str, path: str, body: dict[str, Any], number: str) -> str:
        key = f"{kind}-{number}"
        try:
            answer = await api.client.post(path, json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            raise _Cut from None
        if answer.status_code not in (200, 201):
            raise _Cut
        acknowledged[kind].append(Write(path, body, key, answer.json()))
        if all(len(written) >= ACKNOWLEDGED for written in acknowledged.values()):
            cut.set()
        return str(answer.json()["id"])

    async def work(worker: int) -> None:
        with suppress(_Cut):
            for n in range(10_000):
                number = f"{worker}-{n}"
                plan_id = await write("plan", "/v1/plans", PLAN, number)
                customer_id = await write("customer", "/v1/customers", CUSTOMER, number)
                wanted = {"customer_id": customer_id, "plan_id": plan_id}
                subscription_id = await write("subscription", "/v1/subscriptions", wanted, number)
                cancel = {"at": "now" if n % 2 else "period_end"}
                await write("cancellation", f"/v1/subscriptions/{subscription_id}/cancel", cancel, number)

    await asyncio.gather(*(work(worker) for worker in range(4)))
    return acknowledged


async def assert_stored(database: Database, acknowledged: dict[str, list[Write]]) -> None:
    """Everything that was acknowledged is in the database, cancellations with the end that was told."""
    for kind, written in acknowledged.items():
        assert len(written) >= ACKNOWLEDGED, kind
    async with database.connect() as owner:
        for kind, table in (("plan", "plans"), ("customer", "customers"), ("subscription", "subscriptions")):
            stored = {row["id"] for row in await owner.fetch(f"SELECT id FROM {table}")}
            assert {each.answer["id"] for each in acknowledged[kind]} <= stored, kind
        ends = {
            row["id"]: row["ends_at"] for row in await owner.fetch("SELECT id, ends_at FROM subscriptions")
        }
    for each in acknowledged["cancellation"]:
        assert ends[each.answer["id"]] == datetime.fromisoformat(each.answer["ends_at"])


async def test_acknowledged_writes_survive_a_sigkill_of_the_api(
    database: Database, tmp_path: Path, api_key: str, sandbox_server: SandboxServer
) -> None:
    async with running(database, tmp_path / "api.log", api_key, sandbox_server) as api:
        cut = asyncio.Event()
        writing = asyncio.create_task(acknowledge_until_cut(api, cut))
        await asyncio.wait_for(cut.wait(), 30)
        assert await api.end(signal.SIGKILL) == -signal.SIGKILL
        acknowledged = await asyncio.wait_for(writing, 30)
    await assert_stored(database, acknowledged)


async def test_acknowledged_writes_survive_a_sigkill_of_postgres(
    database: Database,
    tmp_path: Path,
    api_key: str,
    migrated_server: PostgresServer,
    sandbox_server: SandboxServer,
) -> None:
    async with running(database, tmp_path / "api.log", api_key, sandbox_server) as api:
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
        await assert_stored(database, acknowledged)
        # The same process goes on by itself, and a repeat gets the first answer, that of the last write included.
        await api.wait_ready()
        for written in acknowledged.values():
            for each in (written[0], written[-1]):
                key = {"Idempotency-Key": each.key}
                again = await api.client.post(each.path, json=each.body, headers=key)
                assert again.headers["Idempotent-Replayed"] == "true"
                assert again.json() == each.answer


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


async def test_a_processor_that_never_answers_leaves_room_for_what_does_not_need_it(
    database: Database, tmp_path: Path, api_key: str
) -> None:
    """Requests that wait for the processor are bounded: the others would be refused as too many in the end."""
    answered: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: answered.append(writer), "127.0.0.1", 0)
    silent = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    more = {"MIDDLEMAN_STRIPE_API_BASE": silent, "MIDDLEMAN_PROCESSOR_TIMEOUT_S": "60"}
    body = json.dumps(CUSTOMER).encode()
    async with running(database, tmp_path / "api.log", api_key, more=more) as api:
        url = api.client.base_url
        request = (
            f"POST /v1/customers HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {api_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body

        async def ask() -> bytes:
            """The status line; bare sockets, since a client would take seconds to open so many."""
            reader, writer = await asyncio.open_connection(url.host, url.port)
            answered.append(writer)
            writer.write(request)
            return await reader.readline()

        waiting = [asyncio.create_task(ask()) for _ in range(600)]
        async with asyncio.timeout(18):  # before any of them gives up on the processor, after 20 s
            while sum(task.done() for task in waiting) < 400:  # noqa: ASYNC110  # another process' answers
                await asyncio.sleep(0.05)
        answer = await api.client.get("/v1/plans")
        assert answer.status_code == 200, answer.text
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    for writer in answered:
        writer.close()
    server.close()


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
