"""The API as a real process of its own, on a free port."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from tests.support.database import Database

from cluster.sandbox import SandboxServer

COMMAND = (sys.executable, "-m", "middleman.entrypoints.api")


@dataclass(slots=True)
class ApiProcess:
    process: asyncio.subprocess.Process
    client: httpx.AsyncClient
    log: Path

    async def wait_ready(self) -> None:
        """Until `/readyz` says yes; fails at once when the process has ended."""
        async with asyncio.timeout(30):
            while True:
                assert self.process.returncode is None, self.log.read_text()
                try:
                    if (await self.client.get("/readyz")).status_code == 200:
                        return
                except httpx.TransportError:
                    pass  # not listening yet, or Postgres is restarting
                await asyncio.sleep(0.02)

    async def end(self, number: signal.Signals) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 20)


def environment(database_url: str, port: int, sandbox: SandboxServer | None = None) -> dict[str, str]:
    """What the process is told; processor calls go to the sandbox, or to a closed port."""
    return {
        "PATH": os.environ["PATH"],
        "MIDDLEMAN_DATABASE_URL": database_url,
        "MIDDLEMAN_API_PORT": str(port),
        "MIDDLEMAN_ENVIRONMENT": "test",
        "STRIPE_WEBHOOK_SECRET": "whsec_of_the_process",
        "STRIPE_API_KEY": sandbox.api_key if sandbox else "sk_test_none",
        "MIDDLEMAN_STRIPE_API_BASE": sandbox.url if sandbox else "http://127.0.0.1:1",
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def running(
    database: Database,
    log: Path,
    api_key: str,
    sandbox: SandboxServer | None = None,
    more: Mapping[str, str] | None = None,
) -> AsyncIterator[ApiProcess]:
    """A process of the API that is ready; killed in the end if it still runs. `more` are further settings."""
    port = free_port()
    told = environment(database.dsn("middleman_api"), port, sandbox) | dict(more or {})
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(*COMMAND, env=told, stdout=output, stderr=output)
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers) as client:
            api = ApiProcess(process, client, log)
            await api.wait_ready()
            yield api
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
