"""Asks the members of a compose stack whether they are ready for work, each in its own way."""

import asyncio
import re
from collections.abc import Mapping
from typing import Self

import asyncpg
import httpx

TIMEOUT_S = 1.5
ETCD_PORT = 2381
"""For health and metrics, over plain HTTP, on the network of etcd only: no certificate is needed to look."""
_LEADS = re.compile(r"^etcd_server_is_leader 1$", re.MULTILINE)
_HAS_LEADER = re.compile(r"^etcd_server_has_leader 1$", re.MULTILINE)


class Probes:
    """Each takes `TIMEOUT_S` at most, and takes any failure for a no."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None) -> None:
        # No connection is kept: a container that was started again may have another address.
        self._http = httpx.AsyncClient(
            timeout=TIMEOUT_S, trust_env=False, transport=transport, headers={"Connection": "close"}
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def succeeds(self, url: str) -> bool:
        """Whether a GET is answered with success."""
        return await self._read(url) is not None

    async def etcd_is_healthy(self, host: str) -> bool:
        """Whether a member is part of a quorum: it answers this by a linearizable read."""
        return await self.succeeds(f"http://{host}:{ETCD_PORT}/health")

    async def raft_leader(self, hosts: Mapping[str, str]) -> str | None:
        """The only member that says it leads, while a majority has a leader; None for any other state."""
        answers = await asyncio.gather(*(self._metrics(host) for host in hosts.values()))
        told = dict(zip(hosts, answers, strict=True))
        leaders = [name for name, text in told.items() if _LEADS.search(text)]
        knowing = [name for name, text in told.items() if _HAS_LEADER.search(text)]
        return leaders[0] if len(leaders) == 1 and len(knowing) > len(hosts) // 2 else None

    async def database_serves(self, url: str) -> bool:
        """Whether a session can be opened and answers."""
        try:
            connection = await asyncpg.connect(url, timeout=TIMEOUT_S)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        try:
            return bool(await connection.fetchval("SELECT true", timeout=TIMEOUT_S))
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        finally:
            connection.terminate()

    async def _metrics(self, host: str) -> str:
        return await self._read(f"http://{host}:{ETCD_PORT}/metrics") or ""

    async def _read(self, url: str) -> str | None:
        try:
            answer = await self._http.get(url)
        except httpx.HTTPError:
            return None
        return answer.text if answer.is_success else None
