"""The stack as it stands after a cold start, and the first charge of a new subscriber."""

from datetime import datetime
from typing import Any

import pytest
from tests.compose.conftest import Note
from tests.support.compose_stack import CommandFailed, Stack, docker, until

LONG_RUNNING = {"postgres", "etcd-1", "etcd-2", "etcd-3", "sandbox", "api", "replica", "demo"}
ONE_SHOT = {"init", "migrate", "welcome"}
MAX_FIRST_CHARGE_S = 120

# Whether etcd answers over HTTPS, with the certificate of that name or with none. Whom we talk to is not the question.
_KNOCK = """
import socket, ssl, sys
port, name = int(sys.argv[1]), sys.argv[2]
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
if name:
    context.load_cert_chain(f"/secrets/{name}.pem", f"/secrets/{name}-key.pem")
try:
    with socket.create_connection(("etcd-1", port), timeout=3) as plain, context.wrap_socket(plain) as connection:
        connection.sendall(b"GET /version HTTP/1.0\\r\\n\\r\\n")
        print(connection.recv(12)[9:].decode() or "refused")
except (ssl.SSLError, ConnectionError):
    print("refused")
"""


def _service(container: dict[str, Any]) -> str:
    return str(container["Config"]["Labels"]["com.docker.compose.service"])


def test_everything_runs_and_what_runs_once_has_ended_well(stack: Stack) -> None:
    states = [
        line.split()
        for line in stack.compose(
            "ps", "-a", "--format", "{{.Service}} {{.State}} {{.ExitCode}}"
        ).splitlines()
    ]
    assert {service for service, state, _ in states if state == "running"} == LONG_RUNNING
    assert {(service, code) for service, state, code in states if state == "exited"} == {
        (name, "0") for name in ONE_SHOT
    }
    assert sum(service == "replica" for service, *_ in states) == 3


def test_every_process_is_unprivileged_and_cannot_write_to_its_image(stack: Stack) -> None:
    containers = stack.containers()
    assert {_service(each) for each in containers} == LONG_RUNNING
    for container in containers:
        host = container["HostConfig"]
        assert host["CapDrop"] == ["ALL"], _service(container)
        assert host["ReadonlyRootfs"], _service(container)
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        users = {line.split()[1] for line in docker("top", container["Id"], "-o", "pid,uid").splitlines()[1:]}
        assert users, _service(container)
        assert "0" not in users, _service(container)


def test_no_secret_stands_in_an_environment_or_on_a_command_line(stack: Stack) -> None:
    key = stack.api_key
    for container in stack.containers():
        shown = str(container["Config"]["Env"]) + docker("top", container["Id"], "-o", "pid,args")
        assert key not in shown
        for mark in ("sk_test_", "mk_test_", "admin_", "ops_", "postgresql://"):
            assert mark not in shown, _service(container)


def test_ports_are_published_on_this_machine_only(stack: Stack) -> None:
    published = {
        binding["HostIp"]
        for container in stack.containers()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert published == {"127.0.0.1"}


def test_the_database_asks_for_a_password(stack: Stack) -> None:
    asked = (
        "exec",
        "-T",
        "-e",
        "PGPASSWORD=wrong",
        "postgres",
        "psql",
        "-h",
        "127.0.0.1",
        "-U",
        "postgres",
        "-c",
        "SELECT 1",
    )
    with pytest.raises(CommandFailed, match="password authentication failed"):
        stack.compose(*asked)
    with pytest.raises(CommandFailed, match="password"):
        stack.compose("exec", "-T", "postgres", "psql", "-w", "-U", "postgres", "-c", "SELECT 1")


@pytest.mark.parametrize(
    ("port", "certificate", "answer"),
    [
        (2379, "etcd-client", "200"),
        (2379, "", "refused"),
        (2380, "etcd-client", "refused"),  # what opens the clients' port opens no peer's
    ],
)
def test_etcd_lets_nobody_in_without_the_right_certificate(
    stack: Stack, port: int, certificate: str, answer: str
) -> None:
    told = stack.compose("exec", "-T", "replica", "python", "-c", _KNOCK, str(port), certificate)
    assert told.strip() == answer


def test_a_new_subscriber_is_charged(stack: Stack, note: Note) -> None:
    plan = stack.post(
        "/v1/plans",
        {"name": "Smoke", "amount_minor": 1999, "currency": "EUR", "interval": {"unit": "month", "count": 1}},
    )
    customer = stack.post("/v1/customers", {"email": "ada@example.com", "payment_method": "pm_card_visa"})
    subscription = stack.post("/v1/subscriptions", {"customer_id": customer["id"], "plan_id": plan["id"]})

    def paid() -> dict[str, Any] | None:
        invoices = stack.get("/v1/invoices", subscription_id=subscription["id"])["data"]
        return next((each for each in invoices if each["status"] == "paid"), None)

    invoice = until(paid, "the first period is paid")
    assert (invoice["amount_minor"], invoice["currency"]) == (1999, "EUR")
    assert stack.verdict()["holds"]


def test_charging_is_seen_soon_after_a_cold_start(stack: Stack, note: Note) -> None:
    first = stack.get("/v1/events", kind="attempt.settled", limit=1)["data"][0]
    began = min(each["Created"] for each in stack.containers())
    took_s = (datetime.fromisoformat(first["at"]) - datetime.fromisoformat(began)).total_seconds()
    note("cold start to the first charge, the image being built", f"{took_s:.1f} s")
    assert took_s < MAX_FIRST_CHARGE_S
