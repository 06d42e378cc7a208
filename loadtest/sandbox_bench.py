"""How many requests per second the sandbox serves on one core: create + confirm, each with its idempotency key.

Starts a sandbox of its own on a free port, pinned to one core, and drives it from another over keep-alive connections
with a client that does as little as possible. Prints one JSON line. Usage::

    python loadtest/sandbox_bench.py [--intents 10000] [--concurrency 64]
"""

import argparse
import asyncio
import json
import os
import signal
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import uvloop

from cluster.sandbox import SandboxServer

API_KEY = "sk_test_bench0123456789"


class Client:
    """One keep-alive connection that has one request under way."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def post(self, path: str, params: dict[str, str], key: str) -> tuple[int, bytes]:
        """Status and body of the answer."""
        body = urlencode(params).encode()
        self._writer.write(
            f"POST {path} HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer {API_KEY}\r\nIdempotency-Key: {key}\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n", 1)[0])
        return int(head[9:12]), await self._reader.readexactly(length)


async def run(port: int, intents: int, concurrency: int) -> list[float]:
    """Creates and confirms `intents` payment intents; gives the latencies of all requests in seconds."""
    clients = [Client(*await asyncio.open_connection("127.0.0.1", port)) for _ in range(concurrency)]
    status, body = await clients[0].post(
        "/v1/customers", {"payment_method": "pm_card_visa"}, "bench-customer"
    )
    assert status == 200, body
    customer = json.loads(body)["id"]
    attach = "/v1/payment_methods/pm_card_visa/attach"
    method = json.loads((await clients[0].post(attach, {"customer": customer}, "bench-attach"))[1])["id"]
    numbers = iter(range(intents))
    latencies: list[float] = []

    async def timed(client: Client, path: str, params: dict[str, str], key: str) -> bytes:
        started_s = time.perf_counter()
        status, body = await client.post(path, params, key)
        latencies.append(time.perf_counter() - started_s)
        assert status == 200, body
        return body

    async def work(client: Client) -> None:
        for number in numbers:
            created = {
                "amount": "1999",
                "currency": "eur",
                "customer": customer,
                "payment_method": method,
                "payment_method_types[]": "card",
                "metadata[subscription_id]": f"sub_{number}",
                "metadata[period_no]": "0",
            }
            body = await timed(client, "/v1/payment_intents", created, f"create-{number}")
            intent = body[7 : body.index(b'"', 7)].decode()
            await timed(
                client, f"/v1/payment_intents/{intent}/confirm", {"off_session": "true"}, f"confirm-{number}"
            )

    await asyncio.gather(*(work(client) for client in clients))
    return sorted(latencies)


def cpu_s(pid: int) -> float:
    """User and system time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(intents: int, concurrency: int) -> dict[str, float]:
    """Runs against a sandbox of our own, which ends with us, however we end."""
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        async with SandboxServer(Path(directory), api_key=API_KEY) as sandbox:
            assert sandbox.pid is not None  # it has just started
            assert sandbox.port is not None
            if len(cores) > 1:
                os.sched_setaffinity(sandbox.pid, cores[:1])
                os.sched_setaffinity(0, cores[1:])
            started_s, cpu_before_s = time.perf_counter(), cpu_s(sandbox.pid)
            latencies = await run(sandbox.port, intents, concurrency)
            elapsed_s, used_s = time.perf_counter() - started_s, cpu_s(sandbox.pid) - cpu_before_s
    requests = len(latencies)
    return {
        "requests": requests,
        "requests_per_s": round(requests / elapsed_s),
        "sandbox_cpu_us_per_request": round(used_s / requests * 1e6, 1),
        "sandbox_cpu_share": round(used_s / elapsed_s, 2),
        "latency_p50_ms": round(latencies[requests // 2] * 1000, 2),
        "latency_p99_ms": round(latencies[requests * 99 // 100] * 1000, 2),
        "latency_max_ms": round(latencies[-1] * 1000, 2),
    }


async def _until_stopped(intents: int, concurrency: int) -> dict[str, float]:
    task = asyncio.current_task()
    assert task is not None  # we run inside uvloop.run
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure(intents, concurrency)


def main() -> int:
    """Starts, measures, prints, stops."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--intents", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    given = parser.parse_args()
    try:
        print(json.dumps(uvloop.run(_until_stopped(given.intents, given.concurrency))))
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 130
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
