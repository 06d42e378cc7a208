"""The script that asks a container whether it is well."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from middleman.entrypoints import healthcheck


@asynccontextmanager
async def _server(answer: bytes, host: str = "127.0.0.1") -> AsyncIterator[tuple[str, list[bytes]]]:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        for byte in answer:  # one at a time: an answer need not come in one piece
            writer.write(bytes([byte]))
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, host, 0)
    async with server:
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{server.sockets[0].getsockname()[1]}", asked


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", 0, ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 0, ""),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", 1, "answers 503"),
        (b"HTTP/1.1 302 Found\r\n\r\n", 1, "answers 302"),
        (b"", 1, "answers nothing"),
    ],
)
async def test_a_2xx_is_healthy_and_nothing_else(
    answer: bytes, status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with _server(answer) as (url, asked):
        assert await asyncio.to_thread(healthcheck.main, [f"{url}/readyz"]) == status
    assert asked[0].startswith(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1:")
    assert said in capsys.readouterr().out


async def test_an_ipv6_address_is_asked_where_it_stands_in_brackets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with _server(b"HTTP/1.1 200 OK\r\n\r\n", "::1") as (url, asked):
        assert await asyncio.to_thread(healthcheck.main, [f"{url}/livez"]) == 0
        assert (
            await asyncio.to_thread(healthcheck.main, [f"{url.replace('[', '').replace(']', '')}/livez"]) == 1
        )
    assert b"Host: [::1]:" in asked[0]
    assert "in brackets" in capsys.readouterr().out


async def test_the_url_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with _server(b"HTTP/1.1 200 OK\r\n\r\n") as (url, asked):
        monkeypatch.setenv("HEALTHCHECK_URL", f"{url}/livez")
        assert await asyncio.to_thread(healthcheck.main, []) == 0
    assert asked[0].startswith(b"GET /livez ")


def test_a_container_with_nothing_to_ask_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEALTHCHECK_URL", raising=False)
    assert healthcheck.main([]) == 0


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/", "127.0.0.1:1", "http://127.0.0.1/"])
def test_a_url_that_cannot_be_asked_is_unhealthy_and_says_why(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert healthcheck.main([url]) == 1
    assert "must read http://host:port/path" in capsys.readouterr().out


def test_it_runs_in_an_interpreter_without_packages_and_a_closed_port_is_unhealthy() -> None:
    done = subprocess.run(
        (sys.executable, "-I", "-S", healthcheck.__file__, "http://127.0.0.1:1/livez"),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert "Connection refused" in done.stdout
