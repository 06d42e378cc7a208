"""Every fault does what it says: to the caller, to the ledger, and to the idempotency key."""

import secrets
import socket
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import stripe
from tests.support.sandbox_process import SandboxProcess, code_of

PAY = {
    "amount": "500",
    "currency": "usd",
    "payment_method_types[]": "card",
    "confirm": "true",
    "payment_method": "pm_card_visa",
}


@pytest.fixture
def http(sandbox: SandboxProcess) -> Iterator[httpx.Client]:
    with sandbox.http() as client:
        yield client


class Payment:
    """One payment with a key of its own, sent as often as wanted; knows how many charges came of it."""

    def __init__(self, sandbox: SandboxProcess, http: httpx.Client) -> None:
        self._sandbox, self._http = sandbox, http
        self.key = f"pay-{secrets.token_hex(8)}"
        self._charges_before = self._charges()

    def _charges(self) -> int:
        return int(self._sandbox.admin("GET", "stats")["counts"]["charges"])

    def send(self, **more: str) -> httpx.Response:
        return self._http.post(
            "/v1/payment_intents", data={**PAY, **more}, headers={"Idempotency-Key": self.key}
        )

    @property
    def charges(self) -> int:
        return self._charges() - self._charges_before


@pytest.fixture
def payment(sandbox: SandboxProcess, http: httpx.Client) -> Payment:
    return Payment(sandbox, http)


@pytest.mark.parametrize(
    ("action", "executed"),
    [
        ({"type": "drop_before"}, 0),
        ({"type": "drop_after"}, 1),
        ({"type": "reset"}, 0),
        ({"type": "reset", "when": "after"}, 1),
        ({"type": "truncate"}, 1),
        ({"type": "hang", "hang_s": 0.05}, 0),
        ({"type": "hang", "hang_s": 0.05, "when": "after"}, 1),
    ],
    ids=lambda value: "-".join(str(v) for v in value.values()) if isinstance(value, dict) else str(value),
)
def test_a_lost_reply_leaves_the_caller_in_doubt_and_a_repeat_settles_it(
    sandbox: SandboxProcess, payment: Payment, action: dict[str, Any], executed: int
) -> None:
    sandbox.add_fault(action, times=1, operation="payment_intents.create")
    with pytest.raises(httpx.TransportError):
        payment.send()
    assert payment.charges == executed
    repeat = payment.send()
    assert repeat.json()["status"] == "succeeded"
    assert ("idempotent-replayed" in repeat.headers) == bool(executed)
    assert payment.charges == 1


def test_a_reset_is_a_reset_and_a_drop_an_orderly_close(sandbox: SandboxProcess) -> None:
    request = (
        b"GET /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_test_sandbox0123456789\r\n\r\n"
    )
    sandbox.add_fault({"type": "reset"}, times=1)
    with sandbox.connect() as bare:
        bare.sendall(request)
        with pytest.raises(ConnectionResetError):
            bare.recv(100)
    sandbox.add_fault({"type": "drop_before"}, times=1)
    with sandbox.connect() as bare:
        bare.sendall(request)
        assert bare.recv(100) == b""


def test_a_truncated_reply_promises_more_than_it_brings(sandbox: SandboxProcess) -> None:
    sandbox.add_fault({"type": "truncate"}, times=1)
    with sandbox.connect() as bare:
        bare.sendall(
            b"GET /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_test_sandbox0123456789\r\n\r\n"
        )
        received = b""
        while chunk := bare.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    promised = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
    assert 0 < len(body) == promised // 2


@pytest.mark.parametrize(("executed", "charges_before_repeat"), [(False, 0), (True, 1)])
def test_a_stored_500_is_replayed_for_ever(
    sandbox: SandboxProcess, payment: Payment, executed: bool, charges_before_repeat: int
) -> None:
    sandbox.add_fault({"type": "error_500", "stored": True, "executed": executed}, times=1)
    first, repeat = payment.send(), payment.send()
    assert (first.status_code, repeat.status_code) == (500, 500)
    assert first.json()["error"]["type"] == "api_error"
    assert repeat.headers["idempotent-replayed"] == "true"
    assert payment.charges == charges_before_repeat


def test_a_500_that_is_not_stored_lets_the_repeat_execute(sandbox: SandboxProcess, payment: Payment) -> None:
    sandbox.add_fault({"type": "error_500", "stored": False}, times=1)
    assert [payment.send().status_code, payment.send().status_code] == [500, 200]
    assert payment.charges == 1


def test_latency_delays_and_keeps_the_key_in_flight(sandbox: SandboxProcess, payment: Payment) -> None:
    sandbox.add_fault({"type": "latency", "latency_ms": 120}, times=1)
    started_s = time.monotonic()
    assert payment.send().status_code == 200
    assert time.monotonic() - started_s >= 0.12


def test_a_decline_rule_speaks_for_the_issuer(sandbox: SandboxProcess, client: Any) -> None:
    customer = client.v1.customers.create({"payment_method": "pm_card_visa"})
    method = client.v1.payment_methods.list({"customer": customer.id}).data[0].id
    intent = client.v1.payment_intents.create(
        {"amount": 500, "currency": "usd", "customer": customer.id, "payment_method": method}
    )
    action = {"type": "decline", "decline_code": "insufficient_funds", "advice_code": "do_not_try_again"}
    rule = sandbox.add_fault(action, times=1, operation="payment_intents.confirm", customer=customer.id)
    with pytest.raises(stripe.CardError) as declined:
        client.v1.payment_intents.confirm(intent.id, {"off_session": True})
    error = declined.value.error
    assert error is not None
    assert (error.decline_code, error.advice_code) == ("insufficient_funds", "do_not_try_again")
    paid = client.v1.payment_intents.confirm(intent.id, {"off_session": True, "payment_method": method})
    assert paid.status == "succeeded"
    assert sandbox.admin("DELETE", f"faults/{rule}")["hits"] == 1


def test_rules_hit_only_what_they_match(sandbox: SandboxProcess, client: Any) -> None:
    hit, spared = client.v1.customers.create(), client.v1.customers.create()
    rule = sandbox.add_fault(
        {"type": "error_500", "stored": False}, operation="payment_intents.create", customer=hit.id
    )
    params = {"amount": 500, "currency": "usd"}
    assert (
        client.v1.payment_intents.create({**params, "customer": spared.id}).status
        == "requires_payment_method"
    )
    assert client.v1.customers.retrieve(hit.id).id == hit.id
    assert code_of(lambda: client.v1.payment_intents.create({**params, "customer": hit.id})) == (500, None)
    (view,) = sandbox.admin("GET", "faults")["data"]
    assert (view["id"], view["hits"]) == (rule, 1)


def test_chance_is_the_same_for_the_same_seed(sandbox: SandboxProcess, http: httpx.Client) -> None:
    def pattern() -> list[int]:
        rule = sandbox.add_fault({"type": "rate_limit"}, operation="customers.list", probability=0.4, seed=7)
        statuses = [http.get("/v1/customers").status_code for _ in range(30)]
        sandbox.admin("DELETE", f"faults/{rule}")
        return statuses

    first = pattern()
    assert first == pattern()
    assert {200, 429} == set(first)


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ({"action": {"type": "explode"}}, "action.type must be one of"),
        ({"action": {"type": []}}, "action.type must be one of"),
        ({"action": {"type": {}}}, "action.type must be one of"),
        ({"action": {"type": "rate_limit", "reason": "caf\u00e9"}}, "printable ASCII"),
        ({"action": {"type": "rate_limit", "reason": "a\r\nSet-Cookie: b"}}, "printable ASCII"),
        ({"action": {"type": "latency"}}, "latency_ms is missing"),
        ({"action": {"type": "latency", "latency_ms": -1}}, "between 0 and"),
        ({"action": {"type": "hang", "hang_s": 10_000}}, "between 0 and 300"),
        ({"match": {"probability": 2}, "action": {"type": "reset"}}, "between 0 and 1"),
        ({"match": {"color": "red"}, "action": {"type": "reset"}}, "match.color is unknown"),
        ({"times": 0, "action": {"type": "reset"}}, "times must be"),
        ([], "A rule is"),
    ],
)
def test_a_senseless_rule_is_refused_with_what_to_change(
    sandbox: SandboxProcess, rule: object, hint: str
) -> None:
    answer = httpx.post(
        f"{sandbox.url}/admin/faults", json=rule, headers={"Authorization": "Bearer admin_for_tests"}
    )
    assert answer.status_code == 400
    assert hint in answer.json()["error"]
    assert sandbox.admin("GET", "faults")["data"] == []


def test_the_configured_rate_limit_holds_per_operation(new_sandbox: Callable[..., SandboxProcess]) -> None:
    sandbox = new_sandbox("--rate-limit-per-s", "5")
    with sandbox.http() as http:
        lists = [http.get("/v1/customers") for _ in range(12)]
        other = http.get("/v1/charges")
    limited = [one for one in lists if one.status_code == 429]
    assert len(limited) >= 4
    assert limited[0].headers["stripe-rate-limited-reason"] == "endpoint-rate"
    assert limited[0].json()["error"]["code"] == "rate_limit"
    assert other.status_code == 200


def test_a_client_that_goes_away_changes_nothing_for_others(sandbox: SandboxProcess) -> None:
    sandbox.add_fault({"type": "latency", "latency_ms": 100}, times=1, operation="customers.list")
    bare = sandbox.connect()
    bare.sendall(
        b"GET /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer sk_test_sandbox0123456789\r\n\r\n"
    )
    bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    bare.close()
    with sandbox.http() as http:
        assert http.get("/v1/customers").status_code == 200
