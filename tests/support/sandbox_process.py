"""A sandbox process of a test's own, that may be killed and started again on its ledger."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import stripe

from tests.support.stripe_openapi import StripeOpenApi

API_KEY = "sk_test_sandbox0123456789"
ADMIN_KEY = "admin_for_tests"
READY_TIMEOUT_S = 20.0


class SandboxProcess:
    """`python -m stripe_sandbox` on a free port, with its ledger in `data_dir`."""

    def __init__(self, data_dir: Path, *options: str, judge: StripeOpenApi | None = None) -> None:
        """`judge` checks whatever the clients of this object send and receive."""
        self.data_dir = data_dir
        self._options = options
        self._judge = judge
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> "SandboxProcess":
        """Starts it and waits until it says that it is ready; the first start chooses the port for all."""
        command = [
            sys.executable,
            "-m",
            "stripe_sandbox",
            "--data-dir",
            str(self.data_dir),
            "--port",
            str(self.port),
        ]
        keys = ["--api-key", API_KEY, "--admin-key", ADMIN_KEY]
        with (self.data_dir.parent / f"{self.data_dir.name}.log").open("ab") as errors:
            self._process = subprocess.Popen(
                [*command, *keys, *self._options], stdout=subprocess.PIPE, stderr=errors
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the sandbox did not start, exit status {self._process.wait(READY_TIMEOUT_S)}"
        ready = json.loads(line)
        assert ready["event"] == "sandbox.ready"
        assert ready["pid"] == self._process.pid
        self.port = ready["port"]
        return self

    def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        process = self._process
        if process is None:
            return 0
        if process.poll() is None:
            os.kill(process.pid, number)
        status = process.wait(READY_TIMEOUT_S)
        assert process.stdout is not None
        process.stdout.close()
        self._process = None
        return status

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def sdk(self, transport: "JudgedClient | None" = None) -> Any:
        """Stripe's own client, without retries, pointed here.

        Untyped, because the SDK's types forbid what tests of refusals must send, and follow a newer API version.
        """
        transport = transport or JudgedClient(self._judge)
        return stripe.StripeClient(
            API_KEY, base_addresses={"api": self.url}, max_network_retries=0, http_client=transport
        )

    def http(self, **headers: str) -> httpx.Client:
        """A plain HTTP client with the account's key."""
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {API_KEY}", **headers}, timeout=10.0
        )

    def admin(self, method: str, path: str, document: Any = None) -> Any:
        """Calls an admin endpoint; raises for anything but success."""
        answer = httpx.request(
            method,
            f"{self.url}/admin/{path}",
            headers={"Authorization": f"Bearer {ADMIN_KEY}"},
            content=None if document is None else json.dumps(document),
            timeout=10.0,
            verify=False,
            trust_env=False,
        )
        assert answer.is_success, answer.text
        return answer.json()

    def add_fault(self, action: dict[str, Any], times: int | None = None, **match: Any) -> str:
        """Puts a fault rule in force; gives its id."""
        rule: dict[str, Any] = {"match": match, "action": action}
        if times is not None:
            rule["times"] = times
        return str(self.admin("POST", "faults", rule)["id"])

    def connect(self) -> socket.socket:
        """A bare connection, for what no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10.0)


class JudgedClient(stripe.RequestsClient):
    """The SDK's transport, with everything that passes through checked against Stripe's own document."""

    def __init__(self, judge: StripeOpenApi | None) -> None:
        super().__init__(timeout=10)
        self._judge = judge
        self.judged = 0

    def request(  # type: ignore[override]  # the SDK's own RequestsClient differs from its base in the same way
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        body, status, answer_headers = super().request(method, url, headers, post_data)
        if self._judge is not None:
            path, _, query = url.partition("/v1/")[2].partition("?")
            method = method.upper()
            encoded = query if method in ("GET", "DELETE") else str(post_data or "")
            self._judge.check_answer(method, f"/v1/{path}", status, body)
            if status < 400:
                self._judge.check_request(method, f"/v1/{path}", encoded)
            self.judged += 1
        return body, status, answer_headers


def code_of(call: Callable[[], object]) -> tuple[int | None, str | None]:
    """HTTP status and error code of a call that must fail."""
    try:
        call()
    except stripe.StripeError as error:
        return error.http_status, error.error.code if error.error is not None else None
    raise AssertionError("the call succeeded")


def error_of(error: stripe.StripeError) -> Any:
    """The `error` object of Stripe's answer, as it came."""
    body: Any = error.json_body
    return body["error"]
