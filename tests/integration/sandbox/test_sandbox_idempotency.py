"""Idempotency keys, through bare HTTP so that nothing adds or retries anything."""

import concurrent.futures
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.support.sandbox_process import SandboxProcess

from stripe_sandbox.idempotency import FORGOTTEN_WITHIN_S

CREATE = {"amount": "500", "currency": "usd", "payment_method_types[]": "card"}
DAY_S = 24 * 3600


@pytest.fixture
def http(sandbox: SandboxProcess) -> Iterator[httpx.Client]:
    with sandbox.http() as client:
        yield client


def new_key() -> str:
    return f"key-{secrets.token_hex(8)}"


def audit(sandbox: SandboxProcess, key: str) -> dict[str, Any]:
    after, rows = None, []
    while True:
        page = sandbox.admin("GET", "ledger/keys?limit=1000" + (f"&after={after}" if after else ""))
        rows += [row for row in page["data"] if row["key"] == key]
        if not page["has_more"]:
            break
        after = page["data"][-1]["key"]
    (row,) = rows
    return dict(row)


def test_a_repeat_gets_the_first_answer_and_executes_nothing(
    sandbox: SandboxProcess, http: httpx.Client
) -> None:
    key = new_key()
    first = http.post("/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": key})
    repeat = http.post(
        "/v1/payment_intents", data=dict(reversed(CREATE.items())), headers={"Idempotency-Key": key}
    )
    assert (first.status_code, repeat.status_code) == (200, 200)
    assert first.content == repeat.content
    assert "idempotent-replayed" not in first.headers
    assert repeat.headers["idempotent-replayed"] == "true"
    assert repeat.headers["original-request"] == first.headers["request-id"] != repeat.headers["request-id"]
    row = audit(sandbox, key)
    assert (row["executions"], row["replays"], row["mismatches"], row["status"]) == (1, 1, 0, 200)


def test_a_decline_is_replayed_too(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": new_key()}
    params = {**CREATE, "confirm": "true", "payment_method": "pm_card_visa_chargeDeclined"}
    first = http.post("/v1/payment_intents", data=params, headers=headers)
    repeat = http.post("/v1/payment_intents", data=params, headers=headers)
    assert (first.status_code, repeat.status_code) == (402, 402)
    assert first.content == repeat.content
    assert repeat.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("path", "params"),
    [("/v1/payment_intents", {**CREATE, "amount": "501"}), ("/v1/customers", CREATE)],
    ids=["other parameters", "other path"],
)
def test_a_key_with_another_request_is_an_idempotency_error(
    sandbox: SandboxProcess, http: httpx.Client, path: str, params: dict[str, str]
) -> None:
    key = new_key()
    http.post("/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": key})
    other = http.post(path, data=params, headers={"Idempotency-Key": key})
    assert other.status_code == 400
    assert other.json()["error"]["type"] == "idempotency_error"
    row = audit(sandbox, key)
    assert (row["executions"], row["mismatches"]) == (1, 1)


def test_a_failed_validation_frees_the_key_for_the_corrected_request(
    sandbox: SandboxProcess, http: httpx.Client
) -> None:
    key = new_key()
    wrong = http.post(
        "/v1/payment_intents", data={**CREATE, "amount": "lots"}, headers={"Idempotency-Key": key}
    )
    right = http.post("/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": key})
    assert (wrong.status_code, right.status_code) == (400, 200)
    row = audit(sandbox, key)
    # Stripe lets it pass; the audit still tells that one key came with two bodies.
    assert (row["executions"], row["mismatches"], row["replays"]) == (1, 1, 0)


def test_a_refusal_from_execution_is_remembered(http: httpx.Client) -> None:
    headers = {"Idempotency-Key": new_key()}
    params = {**CREATE, "customer": "cus_nobody"}
    first = http.post("/v1/payment_intents", data=params, headers=headers)
    repeat = http.post("/v1/payment_intents", data=params, headers=headers)
    assert (first.status_code, repeat.status_code) == (400, 400)
    assert repeat.headers["idempotent-replayed"] == "true"


def test_of_many_concurrent_repeats_one_executes_and_the_others_conflict_or_replay(
    sandbox: SandboxProcess, http: httpx.Client
) -> None:
    key = new_key()
    before = sandbox.admin("GET", "stats")["counts"]["payment_intents"]
    sandbox.add_fault({"type": "latency", "latency_ms": 500}, operation="payment_intents.create")

    def post(_number: int) -> httpx.Response:
        return http.post("/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": key})

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(post, range(16)))
    winners = [one for one in answers if one.status_code == 200]
    conflicts = [one for one in answers if one.status_code == 409]
    assert len(winners) + len(conflicts) == 16
    assert conflicts, "while the first was under way, others must have been told so"
    assert all(one.json()["error"]["code"] == "idempotency_key_in_use" for one in conflicts)
    assert len({one.json()["id"] for one in winners}) == 1
    assert sandbox.admin("GET", "stats")["counts"]["payment_intents"] == before + 1
    row = audit(sandbox, key)
    assert (row["executions"], row["in_flight_conflicts"]) == (1, len(conflicts))
    last = post(0)
    assert last.headers["idempotent-replayed"] == "true"


def test_a_day_and_a_while_later_a_key_executes_again(sandbox: SandboxProcess, http: httpx.Client) -> None:
    headers = {"Idempotency-Key": new_key()}
    first = http.post("/v1/payment_intents", data=CREATE, headers=headers)
    sandbox.admin("POST", "clock", {"offset_s": DAY_S - 60})
    assert http.post("/v1/payment_intents", data=CREATE, headers=headers).json()["id"] == first.json()["id"]
    sandbox.admin("POST", "clock", {"offset_s": DAY_S + FORGOTTEN_WITHIN_S})
    again = http.post("/v1/payment_intents", data=CREATE, headers=headers)
    assert again.status_code == 200
    assert again.json()["id"] != first.json()["id"]
    assert again.json()["created"] >= first.json()["created"] + DAY_S
    row = audit(sandbox, headers["Idempotency-Key"])
    assert (row["executions"], row["replays"]) == (2, 1)


def test_an_empty_key_is_none_and_256_characters_are_too_many(http: httpx.Client) -> None:
    for key in ("", ""):
        assert (
            http.post("/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": key}).status_code == 200
        )
    empty = [http.post("/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": ""}) for _ in range(2)]
    assert empty[0].json()["id"] != empty[1].json()["id"]
    longest = http.post(
        "/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": secrets.token_hex(127) + "x"}
    )
    assert longest.status_code == 200
    too_long = http.post("/v1/payment_intents", data=CREATE, headers={"Idempotency-Key": "k" * 256})
    assert too_long.status_code == 400
    assert "255" in too_long.json()["error"]["message"]


def test_neither_401_nor_429_is_remembered(sandbox: SandboxProcess, http: httpx.Client) -> None:
    headers = {"Idempotency-Key": new_key()}
    wrong = {**headers, "Authorization": "Bearer sk_test_wrong_wrong_wrong"}
    assert http.post("/v1/payment_intents", data=CREATE, headers=wrong).status_code == 401
    sandbox.add_fault({"type": "rate_limit", "reason": "global-rate", "retry_after_s": 2}, times=1)
    limited = http.post("/v1/payment_intents", data=CREATE, headers=headers)
    assert limited.status_code == 429
    assert limited.headers["stripe-rate-limited-reason"] == "global-rate"
    assert limited.headers["retry-after"] == "2"
    executed = http.post("/v1/payment_intents", data=CREATE, headers=headers)
    assert executed.status_code == 200
    assert "idempotent-replayed" not in executed.headers
