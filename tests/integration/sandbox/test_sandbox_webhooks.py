"""Webhooks arrive signed, at least once, also across failures and a killed sandbox."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import stripe
from tests.support.sandbox_process import SandboxProcess

SECRET = "whsec_sandbox_tests"


class Receiver:
    """An HTTP server that keeps what it gets; `refuse` many deliveries are answered with 500 first."""

    def __init__(self) -> None:
        self.deliveries: list[tuple[str, str]] = []
        self.refuse = 0
        self.refused = 0
        self._changed = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.send_response(receiver.take(body, self.headers["Stripe-Signature"]))
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing: the tests read `deliveries`."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    def take(self, body: str, signature: str) -> int:
        with self._changed:
            if self.refuse > 0:
                self.refuse -= 1
                self.refused += 1
                self._changed.notify_all()
                return 500
            self.deliveries.append((body, signature))
            self._changed.notify_all()
            return 200

    def wait_for(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, timeout=20)

    def types(self) -> list[str]:
        return [stripe.Webhook.construct_event(body, header, SECRET).type for body, header in self.deliveries]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


def pay(sandbox: SandboxProcess) -> None:
    sandbox.sdk().v1.payment_intents.create(
        {
            "amount": 500,
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "payment_method_types": ["card"],
            "confirm": True,
        }
    )


ALL = {"payment_intent.created", "charge.succeeded", "payment_intent.succeeded"}


def test_events_are_delivered_with_a_signature_that_stripes_own_verifier_accepts(
    new_sandbox: Callable[..., SandboxProcess], receiver: Receiver
) -> None:
    sandbox = new_sandbox("--webhook-url", receiver.url, "--webhook-secret", SECRET)
    pay(sandbox)
    receiver.wait_for(lambda: len(receiver.deliveries) >= 3)
    assert set(receiver.types()) == ALL
    body, header = receiver.deliveries[0]
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(body + " ", header, SECRET)


def test_only_the_types_that_were_asked_for_are_delivered(
    new_sandbox: Callable[..., SandboxProcess], receiver: Receiver
) -> None:
    wanted = ("payment_intent.succeeded", "payment_intent.canceled")
    options = [word for name in wanted for word in ("--webhook-event", name)]
    sandbox = new_sandbox("--webhook-url", receiver.url, "--webhook-secret", SECRET, *options)
    for _ in range(
        2
    ):  # of the first, whatever comes after its last would have come by the time of the second
        pay(sandbox)
        receiver.wait_for(lambda: bool(receiver.deliveries))
    receiver.wait_for(lambda: len(receiver.deliveries) >= 2)
    assert receiver.types() == ["payment_intent.succeeded"] * 2
    assert len(sandbox.sdk().v1.events.list({"limit": 100}).data) == 6, "they are shown all the same"


def test_a_failed_delivery_is_repeated_until_it_succeeds(
    new_sandbox: Callable[..., SandboxProcess], receiver: Receiver
) -> None:
    receiver.refuse = 4
    sandbox = new_sandbox("--webhook-url", receiver.url, "--webhook-secret", SECRET)
    pay(sandbox)
    receiver.wait_for(lambda: len(receiver.deliveries) >= 3)
    assert receiver.refused == 4
    assert set(receiver.types()) == ALL


def test_what_was_not_delivered_when_the_sandbox_was_killed_is_delivered_after_its_restart(
    new_sandbox: Callable[..., SandboxProcess], receiver: Receiver
) -> None:
    receiver.refuse = 10**9
    sandbox = new_sandbox("--webhook-url", receiver.url, "--webhook-secret", SECRET)
    pay(sandbox)
    receiver.wait_for(lambda: receiver.refused >= 3)
    sandbox.kill()
    receiver.refuse = 0
    sandbox.start()
    receiver.wait_for(lambda: len(receiver.deliveries) >= 3)
    assert set(receiver.types()) == ALL
