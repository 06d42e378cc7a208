"""The wire: whatever arrives, the sandbox answers sensibly and stays up."""

import re
from email.utils import parsedate_to_datetime

import httpx
import pytest
from tests.support.sandbox_process import API_KEY, SandboxProcess

GET = f"GET /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\n\r\n".encode()


def exchange(sandbox: SandboxProcess, sent: bytes) -> bytes:
    """Sends and reads until the sandbox closes (asked to by `Connection: close` or by its own decision)."""
    with sandbox.connect() as bare:
        bare.sendall(sent)
        received = b""
        while chunk := bare.recv(65536):
            received += chunk
        return received


def test_pipelined_requests_are_answered_in_their_order(sandbox: SandboxProcess) -> None:
    sandbox.add_fault({"type": "latency", "latency_ms": 60}, times=1, operation="customers.list")
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    received = exchange(sandbox, GET + GET.replace(b"customers", b"charges") * 100 + last)
    bodies = received.count(b"HTTP/1.1 200 OK")
    assert bodies == 102
    assert received.index(b'"url":"/v1/customers"') < received.index(b'"url":"/v1/charges"')
    assert received.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"this is not HTTP\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", b"431"),
        (b"POST /v1/customers HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1_100_000, b"413"),
        (b"GET /v1/\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"400"),
        (b"GET /v1/%zz%ff?a=%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"401"),
        (b"HEAD /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"200"),
    ],
    ids=["garbage", "large head", "large body", "raw bytes", "odd escapes", "head"],
)
def test_odd_requests_get_an_honest_status(sandbox: SandboxProcess, sent: bytes, status: bytes) -> None:
    received = exchange(sandbox, sent)
    assert received.split(b" ", 2)[1] == status
    assert httpx.get(f"{sandbox.url}/livez").status_code == 200


@pytest.mark.parametrize("path", ["/", "/livez", "/v1/customers", "/v1/nothing"])
def test_every_answer_is_dated_by_the_clock_that_stamps_objects(sandbox: SandboxProcess, path: str) -> None:
    for offset_s in (0, 3600):
        now_s = sandbox.admin("POST", "clock", {"offset_s": offset_s})["now"]
        dated = httpx.get(f"{sandbox.url}{path}").headers.get_list("date")
        assert len(dated) == 1
        assert dated[0].endswith(" GMT")
        assert 0 <= parsedate_to_datetime(dated[0]).timestamp() - now_s <= 5


def test_garbage_behind_a_request_is_refused_after_its_reply(sandbox: SandboxProcess) -> None:
    sandbox.add_fault({"type": "latency", "latency_ms": 60}, times=1, operation="customers.list")
    received = exchange(sandbox, GET + GET.replace(b"customers", b"charges") + b"\0GARBAGE")
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200", b"400"]
    assert received.index(b'"url":"/v1/customers"') < received.index(b'"url":"/v1/charges"')


def test_garbage_behind_a_request_costs_no_other_client_its_reply(sandbox: SandboxProcess) -> None:
    with sandbox.connect() as careless, sandbox.connect() as innocent:
        careless.sendall(b"GET /livez HTTP/1.1\r\n\r\n\0GARBAGE")
        innocent.sendall(b"GET /livez HTTP/1.1\r\n\r\n")
        assert innocent.recv(100).startswith(b"HTTP/1.1 200 OK")
        assert careless.recv(100).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("path", ["/admin/stats", "/v1/customers"])
def test_credentials_that_are_no_base64_are_401(sandbox: SandboxProcess, path: str) -> None:
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic ".encode()
    for value in (b"\xe9", b"A", b"/////w==", b"*", b""):
        assert exchange(sandbox, head + value + b"\r\n\r\n").split(b" ", 2)[1] == b"401"


def test_a_chunked_body_that_waits_for_100_continue_is_read(sandbox: SandboxProcess) -> None:
    with sandbox.connect() as bare:
        bare.sendall(
            f"POST /v1/customers HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {API_KEY}\r\nExpect: 100-continue\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        assert bare.recv(100).startswith(b"HTTP/1.1 100 Continue")
        bare.sendall(b"7\r\nname=A%\r\n4\r\n20+B\r\n0\r\n\r\n")
        assert b'"name":"A  B"' in bare.recv(65536)


@pytest.mark.parametrize(
    "body",
    [
        "metadata[a=1",
        "metadata[a]]=1&metadata[a][b]=2",
        "[x]=1",
        "=1",
        "amount[]=1&amount[" + "9" * 5000 + "]=2",
        "a" + "[b]" * 50 + "=1",
        "&".join(f"metadata[k{n}]=1" for n in range(1100)),
        "amount=1&amount[x]=1&amount[y][z]=%F0%9F",
        "created=\ud83d\ude00".encode("utf-16", "surrogatepass").decode("latin-1"),
        "name=%00%00&email[]=1",
    ],
)
@pytest.mark.parametrize(
    "path", ["/v1/customers", "/v1/payment_intents", "/v1/refunds", "/v1/payment_methods"]
)
def test_no_form_makes_the_sandbox_fail(sandbox: SandboxProcess, path: str, body: str) -> None:
    with sandbox.http() as http:
        answer = http.post(path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code in (200, 400)


def test_json_is_refused_with_the_content_type_to_use(sandbox: SandboxProcess) -> None:
    with sandbox.http() as http:
        answer = http.post("/v1/customers", json={"name": "x"})
    assert answer.status_code == 400
    assert "application/x-www-form-urlencoded" in answer.json()["error"]["message"]


def test_every_answer_names_its_request_and_the_api_version(sandbox: SandboxProcess) -> None:
    with sandbox.http() as http:
        first = http.get("/v1/customers")
        second = http.get("/v1/customers", headers={"Stripe-Version": "2026-10-28.endive"})
    assert first.headers["request-id"].startswith("req_")
    assert first.headers["request-id"] != second.headers["request-id"]
    assert first.headers["stripe-version"] == "2026-08-26.dahlia"
    assert second.headers["stripe-version"] == "2026-10-28.endive"
