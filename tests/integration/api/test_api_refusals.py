"""Whatever is refused is a problem with a stable type, the field at fault and no stack trace."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
from tests.integration.api.conftest import CUSTOMER, PLAN, ApiWorld, api_world
from tests.support.database import PASSWORD
from tests.support.fake_processor import FakeProcessor

from cluster.postgres import PostgresServer
from middleman.adapters.postgres.engine import engine
from middleman.adapters.postgres.records import SCHEMA_REVISION
from middleman.bootstrap.api import assemble_api
from middleman.entrypoints.api.app import create_app
from middleman.entrypoints.api.gate import MAX_BODY_BYTES
from middleman.entrypoints.api.pagination import next_by_number

JSON = {"Content-Type": "application/json"}


def problem(answer: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    """The problem in `answer`, which must be of this kind and in order."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"https://middleman.example/problems/{slug}"
    assert document["status"] == status
    assert document["request_id"] == answer.headers["x-request-id"]
    assert "Traceback" not in answer.text
    return document


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer ", "Basic abc", "Bearer mk_test_unknown", "Bearer " + "x" * 300],
)
async def test_without_a_valid_key_nothing_is_shown(world: ApiWorld, authorization: str | None) -> None:
    transport = httpx.ASGITransport(world.first.app)
    headers = {} if authorization is None else {"Authorization": authorization}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        for path in ("/v1/customers", "/v1/nonsense"):
            answer = await client.get(path)
            problem(answer, 401, "unauthenticated")
            assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


async def test_a_scope_admits_only_what_it_names(world: ApiWorld) -> None:
    reader = {"Authorization": f"Bearer {await world.key('read')}"}
    writer = {"Authorization": f"Bearer {await world.key('write')}"}
    assert (await world.client.get("/v1/plans", headers=reader)).status_code == 200
    assert (await world.client.post("/v1/plans", json=PLAN, headers=writer)).status_code == 201
    refused = await world.client.post("/v1/plans", json=PLAN, headers=reader)
    problem(refused, 403, "insufficient-scope")
    assert 'scope="write"' in refused.headers["WWW-Authenticate"]
    problem(await world.client.get("/v1/plans", headers=writer), 403, "insufficient-scope")


async def test_a_revoked_key_is_refused_by_an_instance_that_has_not_seen_it(world: ApiWorld) -> None:
    secret = await world.key("read")
    async with world.database.connect() as owner:
        await owner.execute("UPDATE api_keys SET revoked_at = now() WHERE scopes = '{read}'")
    answer = await world.client.get("/v1/plans", headers={"Authorization": f"Bearer {secret}"})
    problem(answer, 401, "unauthenticated")


@pytest.mark.parametrize(
    ("method", "path", "content", "headers", "status", "slug"),
    [
        ("GET", "/v1/nonsense", None, {}, 404, "not-found"),
        ("GET", "/nonsense", None, {}, 404, "not-found"),
        ("GET", "/v1/customers/", None, {}, 404, "not-found"),
        ("DELETE", "/v1/plans", None, {}, 405, "method-not-allowed"),
        ("GET", "/v1/plans/pl_unknown", None, {}, 404, "not-found"),
        ("GET", "/v1/plans/cu_wrong%00kind", None, {}, 422, "invalid-request"),
        ("GET", "/v1/plans?limit=0", None, {}, 422, "invalid-request"),
        ("GET", "/v1/plans?limit=101", None, {}, 422, "invalid-request"),
        ("GET", "/v1/plans?page=2", None, {}, 422, "invalid-request"),
        ("GET", "/v1/plans?cursor=%21%21", None, {}, 400, "bad-cursor"),
        ("GET", "/v1/plans?cursor=" + next_by_number(1), None, {}, 400, "bad-cursor"),
        ("GET", "/v1/events?after_seq=1&cursor=x", None, {}, 422, "invalid-request"),
        ("GET", "/v1/invoices?created_from=yesterday", None, {}, 422, "invalid-request"),
        ("GET", "/v1/invoices?created_from=0001-01-01T00:00:00%2B14:00", None, {}, 422, "invalid-request"),
        ("POST", "/v1/plans", b"", JSON, 422, "invalid-request"),
        ("POST", "/v1/plans", b"{", JSON, 400, "malformed-request"),
        ("POST", "/v1/plans", b"\xff\xfe", JSON, 400, "malformed-request"),
        ("POST", "/v1/plans", b"[" * 60_000, JSON, 400, "malformed-request"),
        ("POST", "/v1/plans", b'{"amount_minor": ' + b"9" * 10_000 + b"}", JSON, 400, "malformed-request"),
        ("POST", "/v1/plans", b"[]", JSON, 422, "invalid-request"),
        ("POST", "/v1/plans", b"null", JSON, 422, "invalid-request"),
        ("POST", "/v1/plans", b'{"\\ud800": 1}', JSON, 422, "invalid-request"),
        ("POST", "/v1/plans", b"{}", {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        ("POST", "/v1/plans", b"x" * (MAX_BODY_BYTES + 1), JSON, 413, "body-too-large"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong(
    world: ApiWorld,
    method: str,
    path: str,
    content: bytes | None,
    headers: dict[str, str],
    status: int,
    slug: str,
) -> None:
    problem(await world.client.request(method, path, content=content, headers=headers), status, slug)


async def test_a_long_body_without_its_length_is_cut_off(world: ApiWorld) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 1024

    answer = await world.client.post("/v1/plans", content=endless(), headers=JSON)
    problem(answer, 413, "body-too-large")
    assert sent <= MAX_BODY_BYTES // 1024 + 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "nul\0"}, "name"),
        ({"name": "lone \ud800 surrogate"}, "name"),
        ({"name": 7}, "name"),
        ({"amount_minor": 0}, "amount_minor"),
        ({"amount_minor": 100_000_000}, "amount_minor"),
        ({"amount_minor": 9.99}, "amount_minor"),
        ({"amount_minor": "999"}, "amount_minor"),
        ({"amount_minor": True}, "amount_minor"),
        ({"amount_minor": 1001, "currency": "KWD"}, "amount_minor"),
        ({"amount_minor": 99_999_999, "currency": "ISK"}, "amount_minor"),
        ({"currency": "eur"}, "currency"),
        ({"currency": "XXZ"}, "currency"),
        ({"currency": "IRR"}, "currency"),
        ({"amount_minor": 49}, "amount_minor"),
        ({"interval": {"unit": "fortnight"}}, "interval.unit"),
        ({"interval": {"unit": "day", "count": 0}}, "interval.count"),
        ({"interval": {"unit": "year", "count": 4}}, "interval"),
        ({"metadata": {"k" * 41: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 501}}, "metadata"),
        ({"metadata": {str(n): "v" for n in range(51)}}, "metadata"),
        ({"metadata": {"k": "\0"}}, "metadata"),
        ({"metadata": {"k": "lone \ud800 surrogate"}}, "metadata"),
        ({"metadata": {"\udfff": "v"}}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_the_field_at_fault_is_named(world: ApiWorld, change: dict[str, Any], field: str) -> None:
    # json.dumps escapes what UTF-8 cannot carry, as a caller may.
    answer = await world.client.post("/v1/plans", content=json.dumps(PLAN | change), headers=JSON)
    document = problem(answer, 422, "invalid-request")
    assert field in [error["field"] for error in document["errors"]]
    assert all(error["message"] for error in document["errors"])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"time_zone": "EST5EDT4"}, "time_zone"),
        ({"anchor": "2026-02-30T00:00:00Z"}, "anchor"),
        ({"anchor": "2026-01-31"}, "anchor"),
        ({"anchor": 1769850000}, "anchor"),
        ({"anchor": "9999-12-31T23:59:59-12:00"}, "anchor"),
        ({"customer_id": "sub_1"}, "customer_id"),
    ],
)
async def test_a_subscription_names_its_field_at_fault(
    world: ApiWorld, change: dict[str, Any], field: str
) -> None:
    body = {"customer_id": "cu_1", "plan_id": "pl_1"} | change
    document = problem(await world.client.post("/v1/subscriptions", json=body), 422, "invalid-request")
    assert [error["field"] for error in document["errors"]] == [field]


@pytest.mark.parametrize("metadata", [{"a": "\ud800"}, {"\ud800": "a"}])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/customers", CUSTOMER),
        ("/v1/plans", PLAN),
        ("/v1/subscriptions", {"customer_id": "cu_1", "plan_id": "pl_1"}),
    ],
)
async def test_metadata_that_utf8_cannot_carry_is_refused_everywhere(
    world: ApiWorld, path: str, body: dict[str, Any], metadata: dict[str, str]
) -> None:
    content = json.dumps(body | {"metadata": metadata})
    document = problem(await world.client.post(path, content=content, headers=JSON), 422, "invalid-request")
    assert [error["field"] for error in document["errors"]] == ["metadata"]


async def test_a_callers_request_id_is_kept_and_an_odd_one_replaced(world: ApiWorld) -> None:
    kept = await world.client.get("/livez", headers={"X-Request-Id": "abc-123"})
    assert kept.headers["x-request-id"] == "abc-123"
    replaced = await world.client.get("/livez", headers={"X-Request-Id": "a b\tc"})
    assert replaced.headers["x-request-id"].startswith("req_")


async def test_the_test_clock_runs_in_a_test_database_and_is_409_elsewhere(world: ApiWorld) -> None:
    before = (await world.client.get("/v1/test_clock")).json()["business_now"]
    moved = await world.made("/v1/test_clock", {"advance_s": 3600})
    assert moved["business_now"] > before
    assert moved["rate"] == 1
    async with world.database.connect() as owner:
        await owner.execute("UPDATE deployment SET environment = 'production'")
        try:
            problem(await world.client.get("/v1/test_clock"), 409, "test-clock-refused")
            answer = await world.client.post("/v1/test_clock", json={"advance_s": 1})
            problem(answer, 409, "test-clock-refused")
        finally:
            await owner.execute("UPDATE deployment SET environment = 'test'")


async def test_the_test_clock_ends_before_the_calendar_does(world: ApiWorld) -> None:
    async with world.database.connect() as owner:
        await owner.execute("UPDATE test_clock SET base_virtual = '7995-01-01', base_real = now()")
        try:
            answer = await world.client.post("/v1/test_clock", json={"advance_s": 9 * 366 * 86400})
            problem(answer, 409, "test-clock-refused")
        finally:
            await owner.execute("UPDATE test_clock SET base_virtual = '2000-01-01', base_real = '2000-01-01'")


async def test_the_apis_role_cannot_write_money(world: ApiWorld) -> None:
    async with world.database.connect("middleman_api") as api:
        for statement in (
            "UPDATE invoices SET status = 'paid'",
            "DELETE FROM payment_attempts",
            "INSERT INTO invoices (id) VALUES ('in_x_0')",
            "UPDATE subscriptions SET next_due_at = now()",
            "UPDATE fence SET term = 99",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await api.execute(statement)


async def test_metrics_count_by_route_template_and_never_by_id(world: ApiWorld) -> None:
    await world.client.get("/v1/plans/pl_whatever")
    await world.client.request("BREW", "/v1/coffee")
    text = (await world.client.get("/metrics")).text
    assert 'middleman_api_requests_total{method="GET",route="/v1/plans/{plan_id}",status="404"}' in text
    assert 'method="other"' in text
    assert "pl_whatever" not in text
    assert "coffee" not in text
    assert "middleman_api_database_sessions_in_use" in text


async def test_ready_means_the_schema_is_there(world: ApiWorld) -> None:
    assert (await world.client.get("/readyz")).status_code == 200
    async with world.database.connect() as owner:
        await owner.execute("UPDATE alembic_version SET version_num = '0000'")
        try:
            document = problem(await world.client.get("/readyz"), 503, "database-unavailable")
        finally:
            await owner.execute("UPDATE alembic_version SET version_num = $1", SCHEMA_REVISION)
    assert "run the migrate command" in document["detail"]


async def test_a_database_without_a_schema_is_told_from_one_that_refuses(world: ApiWorld) -> None:
    for break_it, cure_it, told in (
        (
            "ALTER TABLE alembic_version RENAME TO away",
            "ALTER TABLE away RENAME TO alembic_version",
            "migrate",
        ),
        (
            "REVOKE SELECT ON alembic_version FROM middleman_api",
            "GRANT SELECT ON alembic_version TO middleman_api",
            "permission denied",
        ),
    ):
        async with world.database.connect() as owner:
            await owner.execute(break_it)
            try:
                document = problem(await world.client.get("/readyz"), 503, "database-unavailable")
            finally:
                await owner.execute(cure_it)
        assert told in document["detail"]


@pytest.mark.parametrize("wrong", [{"password": "not-the-password"}, {"database": "no_such_database"}])
async def test_a_database_that_lets_nobody_in_is_a_503_that_says_so(
    world: ApiWorld, wrong: dict[str, str]
) -> None:
    right = {"user": "middleman_api", "password": PASSWORD, "database": world.database.name}
    url = world.database.server.dsn(**(right | wrong))  # type: ignore[arg-type]  # every value is a string
    refused = engine(url, application_name="refused", pool_size=2)
    transport = httpx.ASGITransport(create_app(assemble_api(refused, FakeProcessor(), 2)))
    headers = {"Authorization": "Bearer mk_test_x"}
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        for answer in (await client.get("/v1/plans"), await client.post("/v1/plans", json=PLAN)):
            problem(answer, 503, "database-unavailable")
        document = problem(await client.get("/readyz"), 503, "database-unavailable")
    assert "cannot log in" in document["detail"]
    assert "not-the-password" not in document["detail"]
    await refused.dispose()


async def test_with_the_database_away_every_request_is_a_503_and_soon(world: ApiWorld) -> None:
    # Nobody listens on port 1.
    away = engine("postgresql://u:p@127.0.0.1:1/middleman", application_name="away", pool_size=2)
    app = create_app(assemble_api(away, FakeProcessor(), 2))
    headers = {"Authorization": "Bearer mk_test_x"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        async with asyncio.timeout(15):
            answers = await asyncio.gather(
                client.get("/v1/plans"), client.post("/v1/customers", json=CUSTOMER), client.get("/readyz")
            )
            assert (await client.get("/livez")).status_code == 200
    for answer in answers:
        problem(answer, 503, "database-unavailable")
        assert answer.headers["Retry-After"]
    await away.dispose()


async def test_sessions_that_died_while_idle_cost_the_caller_nothing(world: ApiWorld) -> None:
    for read in (True, False):
        await world.client.get("/v1/plans")
        async with world.database.connect() as owner:
            await owner.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'middleman-api-test' AND datname = current_database()"
            )
        if read:
            assert (await world.client.get("/v1/plans")).status_code == 200
        else:
            assert (await world.client.post("/v1/plans", json=PLAN)).status_code == 201


async def test_a_frozen_database_costs_a_503_and_never_a_hang(
    migrated_server: PostgresServer,
) -> None:
    async with api_world(migrated_server, patience_s=1.0) as world:
        await world.client.get("/v1/plans")  # sessions are open and the caller is known
        migrated_server.pause()
        try:
            async with asyncio.timeout(20):
                answers = await asyncio.gather(
                    world.client.get("/v1/plans"),
                    world.client.post("/v1/plans", json=PLAN),
                    world.client.get("/readyz"),
                )
        finally:
            migrated_server.resume()
        for answer in answers:
            problem(answer, 503, "database-unavailable")
        assert (await world.client.get("/v1/plans")).status_code == 200
