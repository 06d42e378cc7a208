"""What the sandbox has told, it still knows after SIGKILL."""

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable

import httpx
import pytest
from tests.support.sandbox_process import SandboxProcess

CREATE = {"amount": "500", "currency": "usd", "payment_method_types[]": "card"}
PAY = {**CREATE, "confirm": "true", "payment_method": "pm_card_visa"}


def test_an_acknowledged_charge_and_its_replay_survive_sigkill(
    new_sandbox: Callable[..., SandboxProcess],
) -> None:
    sandbox = new_sandbox()
    with sandbox.http() as http:
        paid = http.post("/v1/payment_intents", data=PAY, headers={"Idempotency-Key": "pay-1"})
        refund = http.post("/v1/refunds", data={"payment_intent": paid.json()["id"], "amount": "100"})
    sandbox.admin("POST", "clock", {"offset_s": 3600})
    sandbox.kill()
    sandbox.start()
    with sandbox.http() as http:
        assert http.get(f"/v1/payment_intents/{paid.json()['id']}").json() == paid.json()
        assert http.get(f"/v1/refunds/{refund.json()['id']}").json() == refund.json()
        replay = http.post("/v1/payment_intents", data=PAY, headers={"Idempotency-Key": "pay-1"})
        events = http.get("/v1/events", params={"type": "payment_intent.succeeded"}).json()["data"]
    assert replay.content == paid.content
    assert replay.headers["idempotent-replayed"] == "true"
    assert len(events) == 1
    assert sandbox.admin("GET", "clock")["offset_s"] == 3600
    (intent,) = sandbox.admin("GET", "ledger/intents")["data"]
    assert [charge["amount_refunded"] for charge in intent["charges"]] == [100]


def test_killed_under_load_it_remembers_every_acknowledged_charge(
    new_sandbox: Callable[..., SandboxProcess],
) -> None:
    sandbox = new_sandbox()
    acknowledged: dict[str, str] = {}
    enough = threading.Event()

    def charge(worker: int) -> None:
        with sandbox.http() as http, contextlib.suppress(httpx.TransportError):
            for number in range(10_000):
                key = f"pay-{worker}-{number}"
                answer = http.post("/v1/payment_intents", data=PAY, headers={"Idempotency-Key": key})
                assert answer.status_code == 200
                acknowledged[key] = answer.json()["id"]
                if len(acknowledged) >= 200:
                    enough.set()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        running = [pool.submit(charge, worker) for worker in range(8)]
        assert enough.wait(30)
        sandbox.kill()
        for one in running:
            one.result(30)
    sandbox.start()
    ledger = {one["id"]: one for one in sandbox.admin("GET", "ledger/intents?limit=10000")["data"]}
    keys = {one["key"]: one for one in sandbox.admin("GET", "ledger/keys?limit=10000")["data"]}
    assert len(acknowledged) >= 200
    assert all(ledger[intent]["status"] == "succeeded" for intent in acknowledged.values())
    assert all(keys[key]["executions"] == 1 for key in acknowledged)
    # What was executed but not acknowledged is at most what was under way: one request per worker.
    assert len(ledger) - len(acknowledged) <= 8


def test_two_sandboxes_never_share_a_ledger(new_sandbox: Callable[..., SandboxProcess]) -> None:
    new_sandbox()
    with pytest.raises(AssertionError, match="exit status 2"):
        new_sandbox()


def test_a_clean_stop_exits_with_0_and_keeps_everything(new_sandbox: Callable[..., SandboxProcess]) -> None:
    sandbox = new_sandbox()
    with sandbox.http() as http:
        customer = http.post("/v1/customers", data={"email": "a@example.com"}).json()
    assert sandbox.stop() == 0
    sandbox.start()
    with sandbox.http() as http:
        assert http.get(f"/v1/customers/{customer['id']}").json() == customer


def test_it_is_ready_while_its_ledger_can_be_written_and_alive_without(
    new_sandbox: Callable[..., SandboxProcess],
) -> None:
    sandbox = new_sandbox()
    ready = httpx.get(f"{sandbox.url}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ok"})
    ledger = sandbox.data_dir / "ledger.sqlite3"
    ledger.rename(ledger.with_suffix(".gone"))
    away = httpx.get(f"{sandbox.url}/readyz")
    assert (away.status_code, away.headers["retry-after"]) == (503, "1")
    assert str(ledger) in away.json()["reason"]
    assert httpx.get(f"{sandbox.url}/livez").status_code == 200
    ledger.with_suffix(".gone").rename(ledger)
    assert httpx.get(f"{sandbox.url}/readyz").status_code == 200
