"""What the sandbox refuses because of the account, the version or the network, and outcomes that come late."""

from collections.abc import Callable
from typing import Any

import pytest
import stripe
from tests.support.sandbox_process import SandboxProcess, code_of, error_of

HOUR_S = 3600


def a_customer(client: Any, token: str = "pm_card_visa") -> tuple[str, str]:
    customer = client.v1.customers.create({"email": "a@example.com"})
    method = client.v1.payment_methods.attach(token, {"customer": customer.id})
    return customer.id, method.id


def an_intent(client: Any, customer: str) -> str:
    params = {"amount": 1999, "currency": "eur", "customer": customer, "payment_method_types": ["card"]}
    return str(client.v1.payment_intents.create(params).id)


def confirm(client: Any, intent: str, method: str, key: str | None = None) -> Any:
    options = {} if key is None else {"idempotency_key": key}
    return client.v1.payment_intents.confirm(intent, {"payment_method": method, "off_session": True}, options)


def refusal(call: Callable[[], object]) -> stripe.StripeError:
    with pytest.raises(stripe.StripeError) as refused:
        call()
    return refused.value


@pytest.mark.parametrize(
    "version",
    [
        "2031-01-01",
        "2026-08-26",
        "2026-08-26.basil",
        "2026-02-30.clover",
        "latest",
        "2026-08-26.dahlia, x",
        "",
    ],
)
def test_an_unknown_version_is_refused_and_the_key_stays_free(sandbox: SandboxProcess, version: str) -> None:
    with sandbox.http(**{"Stripe-Version": version, "Idempotency-Key": f"version-{version}"}) as http:
        answer = http.post("/v1/customers", data={"email": "a@example.com"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == f"Invalid Stripe API version: {version}"
    with sandbox.http(**{"Idempotency-Key": f"version-{version}"}) as http:
        assert http.post("/v1/customers", data={"email": "b@example.com"}).status_code == 200


@pytest.mark.parametrize(
    "version", ["2026-08-26.dahlia", "2026-10-28.endive", "2024-06-20", "2025-03-31.basil", "2019-12-03"]
)
def test_a_version_of_stripes_is_taken(sandbox: SandboxProcess, version: str) -> None:
    with sandbox.http(**{"Stripe-Version": version}) as http:
        answer = http.get("/v1/customers")
    assert answer.status_code == 200
    assert answer.headers["stripe-version"] == version


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        ("account_restricted", 400, None),
        ("account_not_activated", 402, "testmode_charges_only"),
        ("method_not_activated", 400, "payment_method_unactivated"),
        ("wrong_mode", 400, "resource_missing"),
        ("not_permitted", 403, None),
    ],
)
def test_an_account_that_may_not_is_refused_whoever_pays_and_executes_nothing(
    sandbox: SandboxProcess, client: Any, reason: str, status: int, code: str | None
) -> None:
    customer, method = a_customer(client)
    intent = an_intent(client, customer)
    rule = sandbox.add_fault({"type": "refuse", "reason": reason, "stored": False}, operation="*")
    assert code_of(lambda: confirm(client, intent, method)) == (status, code)
    assert code_of(lambda: an_intent(client, customer)) == (status, code)
    sandbox.admin("DELETE", f"faults/{rule}")
    shown = client.v1.payment_intents.retrieve(intent)
    assert (shown.status, shown.latest_charge, shown.last_payment_error) == (
        "requires_payment_method",
        None,
        None,
    )
    assert confirm(client, intent, method).status == "succeeded"


@pytest.mark.parametrize("stored", [True, False])
def test_a_refusal_of_the_account_is_kept_under_the_key_where_the_rule_says_so(
    sandbox: SandboxProcess, client: Any, stored: bool
) -> None:
    customer, method = a_customer(client)
    intent = an_intent(client, customer)
    rule = sandbox.add_fault({"type": "refuse", "reason": "account_restricted", "stored": stored}, times=1)
    refusal(lambda: confirm(client, intent, method, f"restricted-{intent}"))
    assert sandbox.admin("GET", "faults")["data"][0]["id"] == rule
    if not stored:
        assert confirm(client, intent, method, f"restricted-{intent}").status == "succeeded"
        return
    again = refusal(lambda: confirm(client, intent, method, f"restricted-{intent}"))
    assert again.headers is not None
    assert {name.lower(): value for name, value in again.headers.items()}["idempotent-replayed"] == "true"
    assert confirm(client, intent, method, f"another-{intent}").status == "succeeded"


def test_a_proxy_refuses_in_html_and_passes_nothing_on(sandbox: SandboxProcess, client: Any) -> None:
    customer, _ = a_customer(client)
    sandbox.add_fault({"type": "refuse", "reason": "proxy", "status": 406}, times=1)
    with sandbox.http(**{"Idempotency-Key": f"proxy-{customer}"}) as http:
        data = {"amount": 1999, "currency": "eur", "customer": customer}
        refused = http.post("/v1/payment_intents", data=data)
        assert (refused.status_code, refused.headers["content-type"]) == (406, "text/html")
        assert refused.content.startswith(b"<html>")
        assert client.v1.payment_intents.list({"customer": customer}).data == []
        assert http.post("/v1/payment_intents", data=data).status_code == 200


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"type": "refuse"}, "action.reason must be one of"),
        ({"type": "refuse", "reason": "bad mood"}, "action.reason must be one of"),
        ({"type": "refuse", "reason": "account_restricted", "status": 406}, "action.status is for"),
        ({"type": "refuse", "reason": "proxy", "status": 200}, "action.status is for"),
        ({"type": "linger", "status": "succeeded"}, "action.status must be"),
        ({"type": "linger", "then": "whatever"}, "action.then must be"),
        ({"type": "linger", "for_s": -1}, "action.for_s must be"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(
    sandbox: SandboxProcess, rule: dict[str, Any], words: str
) -> None:
    with pytest.raises(AssertionError, match=words):
        sandbox.add_fault(rule)


@pytest.mark.parametrize("status", ["processing", "requires_capture"])
@pytest.mark.parametrize(
    ("then", "ends_as", "charges"),
    [("succeed", "succeeded", 1), ("decline", "requires_payment_method", 1), ("cancel", "canceled", 0)],
)
def test_a_confirmed_intent_may_wait_for_its_outcome(
    sandbox: SandboxProcess, client: Any, status: str, then: str, ends_as: str, charges: int
) -> None:
    customer, method = a_customer(client)
    intent = an_intent(client, customer)
    sandbox.add_fault(
        {"type": "linger", "status": status, "for_s": 26 * HOUR_S, "then": then}, times=1, customer=customer
    )
    assert confirm(client, intent, method).status == status
    assert code_of(lambda: confirm(client, intent, method)) == (400, "payment_intent_unexpected_state")
    sandbox.admin("POST", "clock", {"offset_s": 25 * HOUR_S})
    assert client.v1.payment_intents.retrieve(intent).status == status
    sandbox.admin("POST", "clock", {"offset_s": 27 * HOUR_S})
    shown = client.v1.payment_intents.retrieve(intent)
    assert shown.status == ends_as
    assert (shown.last_payment_error is not None) == (then == "decline")
    assert len(client.v1.charges.list({"payment_intent": intent}).data) == charges


def test_a_waiting_intent_may_be_canceled_and_then_nothing_more_happens_to_it(
    sandbox: SandboxProcess, client: Any
) -> None:
    customer, method = a_customer(client)
    intent = an_intent(client, customer)
    sandbox.add_fault({"type": "linger", "for_s": HOUR_S}, times=1, customer=customer)
    assert confirm(client, intent, method).status == "processing"
    assert client.v1.payment_intents.cancel(intent).status == "canceled"
    sandbox.admin("POST", "clock", {"offset_s": 2 * HOUR_S})
    assert client.v1.payment_intents.retrieve(intent).status == "canceled"


def test_a_waiting_intent_survives_the_death_of_the_sandbox(
    new_sandbox: Callable[..., SandboxProcess],
) -> None:
    sandbox = new_sandbox()
    client = sandbox.sdk()
    customer, method = a_customer(client)
    intent = an_intent(client, customer)
    sandbox.add_fault({"type": "linger", "for_s": HOUR_S})
    assert confirm(client, intent, method).status == "processing"
    sandbox.kill()
    sandbox.start()
    assert client.v1.payment_intents.retrieve(intent).status == "processing"
    sandbox.admin("POST", "clock", {"offset_s": 2 * HOUR_S})
    assert client.v1.payment_intents.retrieve(intent).status == "succeeded"


def test_the_account_has_a_rate_limit_over_all_endpoints(new_sandbox: Callable[..., SandboxProcess]) -> None:
    sandbox = new_sandbox("--account-rate-limit-per-s", "10", "--rate-limit-per-s", "8")
    reasons = []
    with sandbox.http() as http:
        for path in ("/v1/customers", "/v1/payment_intents", "/v1/charges", "/v1/refunds") * 5:
            answer = http.get(path)
            if answer.status_code == 429:
                reasons.append(answer.headers["stripe-rate-limited-reason"])
        assert set(reasons) == {"global-rate"}
        assert 5 <= len(reasons) <= 10


def test_the_endpoints_limit_holds_below_the_accounts(new_sandbox: Callable[..., SandboxProcess]) -> None:
    sandbox = new_sandbox("--account-rate-limit-per-s", "1000", "--rate-limit-per-s", "3")
    with sandbox.http() as http:
        answers = [http.get("/v1/customers") for _ in range(10)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited
    assert {answer.headers["stripe-rate-limited-reason"] for answer in limited} == {"endpoint-rate"}


@pytest.mark.parametrize("confirming", ["create", "confirm"])
def test_a_setup_intent_needs_a_return_url_like_a_payment_intent(client: Any, confirming: str) -> None:
    customer = client.v1.customers.create({"email": "a@example.com"}).id
    params: dict[str, Any] = {"customer": customer, "payment_method": "pm_card_visa"}

    def without_one() -> Any:
        if confirming == "create":
            return client.v1.setup_intents.create({**params, "confirm": True})
        return client.v1.setup_intents.confirm(client.v1.setup_intents.create(params).id, {})

    refused = refusal(without_one)
    assert refused.http_status == 400
    assert error_of(refused)["message"].startswith("This SetupIntent is configured to accept")
    given = {**params, "confirm": True, "return_url": "https://example.com/back"}
    assert client.v1.setup_intents.create(given).status == "succeeded"
    never = {"enabled": True, "allow_redirects": "never"}
    automatic = {**params, "confirm": True, "automatic_payment_methods": never}
    assert client.v1.setup_intents.create(automatic).status == "succeeded"
    cards_only = {**params, "confirm": True, "payment_method_types": ["card"]}
    assert client.v1.setup_intents.create(cards_only).status == "succeeded"


@pytest.mark.parametrize(
    "address", ["a@localhost", "a", "@example.com", "a b@example.com", "a@example.", "a@.com"]
)
def test_an_address_that_stripe_refuses_is_refused(client: Any, address: str) -> None:
    refused = refusal(lambda: client.v1.customers.create({"email": address}))
    assert (refused.http_status, error_of(refused)["code"], error_of(refused)["param"]) == (
        400,
        "email_invalid",
        "email",
    )
    customer = client.v1.customers.create({"email": "a+b@mail.example.co.uk"})
    assert code_of(lambda: client.v1.customers.update(customer.id, {"email": address})) == (
        400,
        "email_invalid",
    )
    assert client.v1.customers.update(customer.id, {"email": ""}).email is None
