"""The judge's view: the raw ledger, per key and per group of metadata."""

from collections.abc import Callable

import httpx
import pytest
from tests.support.sandbox_process import SandboxProcess

PAY = {
    "amount": "500",
    "currency": "eur",
    "payment_method_types[]": "card",
    "confirm": "true",
    "payment_method": "pm_card_visa",
}


@pytest.fixture
def ledger(new_sandbox: Callable[..., SandboxProcess]) -> SandboxProcess:
    """Three periods: the first paid twice, the second declined, the third never confirmed."""
    sandbox = new_sandbox()
    confirmed = {**PAY, "metadata[subscription_id]": "sub_1"}
    declined = {"payment_method": "pm_card_visa_chargeDeclined"}
    waiting = {name: confirmed[name] for name in confirmed if name not in ("confirm", "payment_method")}
    requests = [
        {**confirmed, "metadata[period_no]": "0"},
        {**confirmed, "metadata[period_no]": "0"},
        {**confirmed, "metadata[period_no]": "1", **declined},
        {**waiting, "metadata[period_no]": "2"},
        PAY,
    ]
    with sandbox.http() as http:
        for number, params in enumerate(requests):
            status = http.post(
                "/v1/payment_intents", data=params, headers={"Idempotency-Key": f"k{number}"}
            ).status_code
            assert status == (402 if number == 2 else 200)
    return sandbox


def test_intents_come_oldest_first_with_all_their_charges_and_in_pages(ledger: SandboxProcess) -> None:
    everything = ledger.admin("GET", "ledger/intents")
    assert everything["has_more"] is False
    statuses = [one["status"] for one in everything["data"]]
    assert statuses == [
        "succeeded",
        "succeeded",
        "requires_payment_method",
        "requires_payment_method",
        "succeeded",
    ]
    assert [[charge["status"] for charge in one["charges"]] for one in everything["data"]] == [
        ["succeeded"],
        ["succeeded"],
        ["failed"],
        [],
        ["succeeded"],
    ]
    assert everything["data"][2]["charges"][0]["failure_code"] == "card_declined"
    first = ledger.admin("GET", "ledger/intents?limit=2")
    rest = ledger.admin("GET", f"ledger/intents?limit=10&after={first['data'][-1]['id']}")
    assert (first["has_more"], first["data"] + rest["data"]) == (True, everything["data"])


def test_two_keys_with_the_same_body_show_the_same_fingerprint(ledger: SandboxProcess) -> None:
    keys = ledger.admin("GET", "ledger/keys")["data"]
    assert [one["key"] for one in keys] == ["k0", "k1", "k2", "k3", "k4"]
    assert keys[0]["body_sha256"] == keys[1]["body_sha256"] != keys[2]["body_sha256"]
    assert [one["status"] for one in keys] == [200, 200, 402, 200, 200]
    first = ledger.admin("GET", "ledger/keys?limit=3")
    rest = ledger.admin("GET", "ledger/keys?after=k2")
    assert first["data"] + rest["data"] == keys


def test_periods_are_grouped_by_the_metadata_that_the_caller_names(ledger: SandboxProcess) -> None:
    rows = ledger.admin("GET", "ledger/periods?by=subscription_id,period_no")["data"]
    assert [
        (row["period_no"], row["intents"], row["succeeded"], row["amount_succeeded"]) for row in rows
    ] == [
        ("0", 2, 2, 1000),
        ("1", 1, 0, 0),
        ("2", 1, 0, 0),
    ]
    double = ledger.admin("GET", "ledger/periods?by=subscription_id,period_no&min_succeeded=2")["data"]
    assert double == rows[:1]
    first = ledger.admin("GET", "ledger/periods?by=subscription_id,period_no&limit=2")
    rest = ledger.admin("GET", f"ledger/periods?by=subscription_id,period_no&after={first['next_after']}")
    assert first["data"] + rest["data"] == rows


def test_statistics_count_requests_and_add_up_the_money(ledger: SandboxProcess) -> None:
    stats = ledger.admin("GET", "stats")
    assert stats["requests"] == {"payment_intents.create": {"200": 4, "402": 1}}
    assert stats["succeeded"] == {"eur": {"count": 3, "amount": 1500, "amount_refunded": 0}}


@pytest.mark.parametrize(
    ("path", "status", "hint"),
    [
        ("ledger/intents?after=pi_none", 404, "names nothing"),
        ("ledger/intents?limit=10001", 400, "limit must be"),
        ("ledger/intents?colour=red", 400, "Unknown query parameter"),
        ("ledger/periods", 400, "by="),
        ("nothing", 404, "there are:"),
    ],
)
def test_bad_admin_requests_say_what_to_change(
    sandbox: SandboxProcess, path: str, status: int, hint: str
) -> None:
    answer = httpx.get(f"{sandbox.url}/admin/{path}", headers={"Authorization": "Bearer admin_for_tests"})
    assert answer.status_code == status
    assert hint in answer.json()["error"]


def test_the_admin_endpoints_want_the_admin_key_and_no_other(sandbox: SandboxProcess) -> None:
    with sandbox.http() as http:
        assert http.get("/admin/stats").status_code == 401
    assert httpx.get(f"{sandbox.url}/admin/stats").status_code == 401
    assert httpx.get(f"{sandbox.url}/livez").json() == {"status": "ok"}


@pytest.mark.parametrize("document", [{"offset_s": "1"}, {"offset_s": True}, {"offset_s": 1e300}, {}, []])
def test_a_senseless_clock_is_refused(sandbox: SandboxProcess, document: object) -> None:
    answer = httpx.post(
        f"{sandbox.url}/admin/clock", json=document, headers={"Authorization": "Bearer admin_for_tests"}
    )
    assert answer.status_code == 400
    assert sandbox.admin("GET", "clock")["offset_s"] == 0


def test_prometheus_reads_what_was_answered_and_what_the_ledger_holds(ledger: SandboxProcess) -> None:
    with httpx.Client(base_url=ledger.url) as http:
        answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    assert 'sandbox_requests_total{operation="payment_intents.create",status="402"} 1.0' in lines
    assert 'sandbox_payment_intents{status="succeeded"} 3.0' in lines
    assert 'sandbox_amount_succeeded{currency="eur"} 1500.0' in lines


def metrics(sandbox: SandboxProcess) -> dict[str, float]:
    """Samples of `/metrics` by name and labels."""
    lines = httpx.get(f"{sandbox.url}/metrics").text.splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def test_prometheus_reads_how_long_requests_took_and_what_the_process_uses(ledger: SandboxProcess) -> None:
    ledger.add_fault({"type": "latency", "latency_ms": 60}, times=1)
    with ledger.http() as http:
        http.get("/v1/customers")
    seen = metrics(ledger)
    labels = 'operation="customers.list"'
    assert seen[f'sandbox_request_seconds_bucket{{le="0.05",{labels}}}'] == 0
    assert seen[f'sandbox_request_seconds_bucket{{le="+Inf",{labels}}}'] == 1
    assert seen[f"sandbox_request_seconds_count{{{labels}}}"] == 1
    assert 0.06 <= seen[f"sandbox_request_seconds_sum{{{labels}}}"] < 60
    assert seen['sandbox_request_seconds_count{operation="payment_intents.create"}'] == 5
    assert seen["sandbox_commit_seconds_count"] == 5
    assert seen["process_resident_memory_bytes"] > 1e6
    assert seen["process_open_fds"] > 3


def test_prometheus_reads_what_idempotency_keys_did(new_sandbox: Callable[..., SandboxProcess]) -> None:
    sandbox = new_sandbox()
    key = {"Idempotency-Key": "k"}
    with sandbox.http() as http:
        for params in ({"name": "a"}, {"name": "a"}, {"name": "b"}, {"name": "a"}):
            http.post("/v1/customers", data=params, headers=key)
    seen = metrics(sandbox)
    assert seen["sandbox_idempotent_replays_total"] == 2
    assert seen['sandbox_idempotency_conflicts_total{reason="other_parameters"}'] == 1
    assert seen['sandbox_idempotency_conflicts_total{reason="in_flight"}'] == 0


def test_prometheus_reads_how_many_webhooks_wait(new_sandbox: Callable[..., SandboxProcess]) -> None:
    nobody = "http://127.0.0.1:1/"
    sandbox = new_sandbox("--webhook-url", nobody, "--webhook-secret", "whsec_x")
    with sandbox.http() as http:
        http.post("/v1/customers")
        http.post("/v1/customers")
    seen = metrics(sandbox)
    assert seen["sandbox_webhooks_pending"] == 2
    assert seen['sandbox_webhook_deliveries_total{outcome="delivered"}'] == 0
