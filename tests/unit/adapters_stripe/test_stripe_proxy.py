"""The way to Stripe through a proxy: a tunnel by CONNECT, and a proxy's own answers told from the processor's."""

import asyncio
import base64
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import stripe
from tests.support.scripted_http import ScriptedServer

from middleman.adapters.stripe.config import StripeConfig, StripeConfigError, chosen_proxy
from middleman.adapters.stripe.processor import StripeProcessor
from middleman.bootstrap.processor import processor as build_processor
from middleman.domain.attempts import Unknown
from middleman.domain.idempotency import checked_key
from middleman.domain.ids import ProcessorCustomerId
from middleman.domain.money import Money
from middleman.ports.processor import NO_CONNECTION, Created, CreateIntent, NotSent, OperatorFault
from middleman.settings import ApiSettings, load

NAME = "stripe.proxied.invalid"
BASE = f"https://{NAME}"
CREATE = CreateIntent(checked_key("key-1"), Money(1999, "EUR"), ProcessorCustomerId("cus_1"), {})
INTENT = {
    "id": "pi_1",
    "object": "payment_intent",
    "amount": 1999,
    "currency": "eur",
    "status": "requires_payment_method",
    "created": 1,
}
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="makes its certificate with openssl"
)


@dataclass(slots=True)
class Proxy:
    """Opens a tunnel to `target` whatever it is asked for, or answers, hangs up or keeps silent instead."""

    target: tuple[str, int]
    refusal: bytes | None = None
    hangs: bool = False
    asked: list[list[str]] = field(default_factory=list)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        self.asked.append(head)
        if self.hangs:
            await asyncio.sleep(30)
        if self.refusal is not None:
            writer.write(self.refusal)
            await writer.drain()
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(*self.target)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    except ConnectionError:
        pass  # one side went away: the tunnel ends
    finally:
        writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for `NAME` that is its own authority, with its key beside it."""
    directory = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", "key.pem", "-out", "cert.pem", "-subj", f"/CN={NAME}", "-days", "2"),
            *("-addext", f"subjectAltName=DNS:{NAME}"),
        ],
        cwd=directory,
        check=True,
        capture_output=True,
        timeout=30,
    )
    return directory / "cert.pem"


@pytest.fixture
async def world(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[ScriptedServer, Proxy]]:
    """A processor that speaks TLS under `NAME`, which no name service knows, and a proxy that leads to it."""
    monkeypatch.setattr(stripe, "ca_bundle_path", str(certificate))
    processor = ScriptedServer()
    processor.says(200, INTENT)
    secure = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secure.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server = await asyncio.start_server(processor.serve, "127.0.0.1", 0, ssl=secure)
    proxy = Proxy(server.sockets[0].getsockname()[:2])
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    yield processor, proxy
    listener.close()
    server.close()


@asynccontextmanager
async def _through(proxy: str, call_timeout_s: float = 5.0) -> AsyncIterator[StripeProcessor]:
    config = StripeConfig("sk_test_1", BASE, proxy, call_timeout_s=call_timeout_s, connect_timeout_s=1.0)
    async with StripeProcessor(config) as processor:
        yield processor


@needs_openssl
async def test_calls_go_through_a_tunnel_that_is_kept(world: tuple[ScriptedServer, Proxy]) -> None:
    server, proxy = world
    async with _through(proxy.url) as processor:
        for _ in range(3):
            assert isinstance(await processor.create_intent(CREATE), Created)
    assert [asked[0] for asked in proxy.asked] == [f"CONNECT {NAME}:443 HTTP/1.1"]
    assert [request.path for request in server.requests] == ["/v1/payment_intents"] * 3
    assert not any("authorization" in line.lower() for line in proxy.asked[0]), "the key is not the proxy's"


@needs_openssl
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "MIDDLEMAN_STRIPE_PROXY"])
async def test_a_process_takes_its_proxy_from_the_environment(
    world: tuple[ScriptedServer, Proxy], monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    server, proxy = world
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MIDDLEMAN_DATABASE_URL", "postgresql://u:p@127.0.0.1:1/d")
    monkeypatch.setenv("STRIPE_API_KEY", "sk_test_1")
    monkeypatch.setenv("MIDDLEMAN_STRIPE_API_BASE", BASE)
    monkeypatch.setenv(variable, proxy.url)
    built = build_processor(load(ApiSettings), concurrency=2)
    try:
        assert isinstance(await built.create_intent(CREATE), Created)
    finally:
        await built.close()
    assert len(proxy.asked) == len(server.requests) == 1


@needs_openssl
async def test_connections_are_warmed_through_the_proxy(world: tuple[ScriptedServer, Proxy]) -> None:
    _, proxy = world
    async with _through(proxy.url) as processor:
        await processor.warm(2)
        assert len(proxy.asked) == 2


@needs_openssl
async def test_a_user_and_password_in_the_url_are_for_the_proxy_alone(
    world: tuple[ScriptedServer, Proxy],
) -> None:
    server, proxy = world
    async with _through(proxy.url.replace("http://", "http://us%40er:pass%3Aword@")) as processor:
        assert isinstance(await processor.create_intent(CREATE), Created)
    expected = base64.b64encode(b"us@er:pass:word").decode()
    assert f"Proxy-Authorization: Basic {expected}" in proxy.asked[0]
    assert "proxy-authorization" not in server.requests[0].headers


@needs_openssl
@pytest.mark.parametrize("status", [403, 405, 407])
async def test_a_proxy_that_refuses_us_is_the_operators_fault_and_no_decline(
    world: tuple[ScriptedServer, Proxy], status: int
) -> None:
    server, proxy = world
    proxy.refusal = f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode()
    async with _through(proxy.url) as processor:
        answer = await processor.create_intent(CREATE)
    assert isinstance(answer, OperatorFault)
    assert answer.code == "proxy_refused"
    assert f"answered {status}" in answer.message
    assert "MIDDLEMAN_STRIPE_PROXY" in answer.message
    assert server.requests == []


@needs_openssl
@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Slower\r\nContent-Length: 0\r\n\r\n",
        b"",
        b"nonsense\r\n\r\n",
    ],
)
async def test_a_proxy_that_opens_no_tunnel_has_certainly_sent_nothing(
    world: tuple[ScriptedServer, Proxy], refusal: bytes
) -> None:
    server, proxy = world
    proxy.refusal = refusal
    async with _through(proxy.url) as processor:
        answer = await processor.create_intent(CREATE, repeat=True)
    assert isinstance(answer, NotSent)
    assert answer.reason == NO_CONNECTION
    assert server.requests == []


@needs_openssl
async def test_a_proxy_that_never_answers_has_certainly_sent_nothing(
    world: tuple[ScriptedServer, Proxy],
) -> None:
    _, proxy = world
    proxy.hangs = True
    async with _through(proxy.url, call_timeout_s=0.5) as processor:
        answer = await processor.create_intent(CREATE)
    assert isinstance(answer, NotSent)
    assert answer.reason == NO_CONNECTION


@needs_openssl
async def test_a_502_inside_the_tunnel_is_the_processors_and_leaves_the_outcome_unknown(
    world: tuple[ScriptedServer, Proxy],
) -> None:
    server, proxy = world
    server.says(502, {"error": {"type": "api_error"}})
    async with _through(proxy.url) as processor:
        assert isinstance(await processor.create_intent(CREATE), Unknown)


async def test_a_proxy_that_is_not_there_has_certainly_sent_nothing(unused_tcp_port: int) -> None:
    async with _through(f"http://127.0.0.1:{unused_tcp_port}") as processor:
        answer = await processor.create_intent(CREATE)
    assert isinstance(answer, NotSent)
    assert answer.reason == NO_CONNECTION


PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("setting", "base", "environment", "chosen"),
    [
        ("", "", {}, ""),
        ("", "", {"HTTPS_PROXY": PROXY}, PROXY),
        ("", "", {"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, PROXY),
        ("", "", {"HTTPS_PROXY": "proxy:3128"}, PROXY),
        ("", "", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, ""),
        ("", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "internal,.stripe.com"}, ""),
        ("", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "api.stripe.com:443"}, ""),
        ("", "", {"HTTPS_PROXY": PROXY, "no_proxy": "*"}, ""),
        ("", "", {"HTTPS_PROXY": PROXY, "NO_PROXY": "pi.stripe.com, ,"}, PROXY),
        ("none", "", {"HTTPS_PROXY": PROXY}, ""),
        (PROXY, "", {"NO_PROXY": "*"}, PROXY),
        # The sandbox.
        ("", "http://127.0.0.1:12111", {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY}, ""),
        ("", "http://sandbox:12111", {"HTTPS_PROXY": PROXY, "HTTP_PROXY": PROXY}, ""),
        ("", "https://localhost:12111", {"HTTPS_PROXY": PROXY}, ""),
        ("", "https://[::1]:12111", {"HTTPS_PROXY": PROXY}, ""),
        (PROXY, "http://127.0.0.2:12111", {}, ""),
    ],
)
def test_the_setting_counts_first_and_then_the_environment_and_never_for_this_machine(
    setting: str, base: str, environment: dict[str, str], chosen: str
) -> None:
    assert chosen_proxy(setting, base, environment) == chosen


@pytest.mark.parametrize(
    "proxy", ["proxy", "https://proxy:1", "socks5://proxy:1", "http://proxy", "http://u:pass@proxy:x"]
)
def test_what_is_no_proxys_url_is_refused_and_not_quoted(proxy: str) -> None:
    with pytest.raises(StripeConfigError, match="MIDDLEMAN_STRIPE_PROXY") as refusal:
        StripeConfig("sk_test_1", proxy=proxy)
    assert "pass" not in str(refusal.value).replace("password", "")


def test_a_proxy_for_plain_http_is_refused() -> None:
    with pytest.raises(StripeConfigError, match="https address"):
        StripeConfig("sk_test_1", "http://sandbox:12111", PROXY)


def test_the_proxys_password_is_not_shown() -> None:
    config = StripeConfig("sk_test_1", proxy="http://user:hush@proxy:3128")
    assert "hush" not in repr(config)
    assert config.proxy_address == "proxy:3128"
