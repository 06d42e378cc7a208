"""What can be seen of the system from outside: its database, the replicas' endpoints, their logs."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar

import asyncpg
import httpx

from chaos.drive.target import Target

POLL_S = 0.02
HTTP_TIMEOUT_S = 1.5
CONNECT_TIMEOUT_S = 2.0
QUERY_TIMEOUT_S = 5.0

SeenT = TypeVar("SeenT")

_FENCE = "SELECT holder, term FROM fence WHERE scope = 0 AND term > $1"
_TERMS = """
    SELECT number, holder, started_at, ended_at, end_reason FROM terms WHERE scope = 0 AND number > $1 ORDER BY number
"""
_NEWEST_TERM = "SELECT coalesce(max(number), 0) FROM terms WHERE scope = 0"
_NEWEST_EVENT = "SELECT coalesce(max(seq), 0) FROM events"
_SETTLED = """
    SELECT count(*) FROM events
    WHERE kind = 'attempt.settled' AND seq > $1 AND ($2::bigint IS NULL OR term = $2)
"""
_UNKNOWN = "SELECT count(*) FROM payment_attempts WHERE unknown_at > $1"
_CLOCK = "SELECT clock_timestamp()"


class AwayError(Exception):
    """The database does not answer at the moment."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads: the fence names it, its process runs, and it says so itself."""

    name: str
    term: int


@dataclass(frozen=True, slots=True)
class TermRow:
    """One term, as the database has it on record; `holder` is the process's name without its life."""

    number: int
    holder: str
    started_at: datetime
    ended_at: datetime | None
    end_reason: str | None


class Eyes:
    """Looks, and looks again. Reconnects by itself; a database that is away is an `AwayError`, not a crash."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lock = asyncio.Lock()
        self.http = httpx.AsyncClient(timeout=HTTP_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            self._connection.terminate()
        await self.http.aclose()

    async def fetch(self, query: str, *parameters: object) -> "list[asyncpg.Record]":
        """Rows, as the superuser. Raises `AwayError`."""
        async with self._lock:  # one connection, one query at a time
            try:
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(
                        self._target.access.database_url,
                        timeout=CONNECT_TIMEOUT_S,
                        server_settings={"application_name": "middleman-chaos"},
                    )
                return list(await self._connection.fetch(query, *parameters, timeout=QUERY_TIMEOUT_S))
            except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError) as error:
                raise self._away(error) from error
            except (
                asyncpg.CannotConnectNowError,
                asyncpg.AdminShutdownError,
                asyncpg.CrashShutdownError,
            ) as error:
                raise self._away(error) from error

    async def reconnect(self) -> None:
        """Look by a new connection from now on: the one that stands may lead to a server that was replaced."""
        async with self._lock:
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None

    async def value(self, query: str, *parameters: object) -> Any:
        """The first column of the only row. Raises `AwayError`."""
        [row] = await self.fetch(query, *parameters)
        return row[0]

    async def clock(self) -> datetime:
        """The database's real time. Raises `AwayError`."""
        instant: datetime = await self.value(_CLOCK)
        return instant

    async def leader(self, *, after_term: int = 0) -> Leader | None:
        """Who leads now, with a term above `after_term`; None when nobody visibly does, or the database is away."""
        try:
            rows = await self.fetch(_FENCE, after_term)
        except AwayError:
            return None
        for row in rows:
            leader = Leader(row["holder"].partition("#")[0], row["term"])
            told = await self.told(leader.name, "/leader")
            if told is not None and told.get("leads") and told.get("term") == leader.term:
                return leader
        return None

    async def told(self, replica: str, path: str) -> dict[str, Any] | None:
        """What a replica's operations endpoint answers; None when it does not, or not with 200."""
        if not self._target.is_running(replica) or self._target.is_paused(replica):
            return None
        try:
            answer = await self.http.get(f"{self._target.access.ops_urls[replica]}{path}")
            content: dict[str, Any] = answer.json() if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            return None
        return content or None

    async def newest_term(self) -> int:
        """The highest number of a term so far. Raises `AwayError`."""
        return int(await self.value(_NEWEST_TERM))

    async def terms(self, *, after: int = 0) -> list[TermRow]:
        """Every term above that number. Raises `AwayError`."""
        rows = await self.fetch(_TERMS, after)
        return [TermRow(row[0], row[1].partition("#")[0], row[2], row[3], row[4]) for row in rows]

    async def newest_event(self) -> int:
        """The highest number of an event so far. Raises `AwayError`."""
        return int(await self.value(_NEWEST_EVENT))

    async def settled(self, *, after_event: int, term: int | None = None) -> int:
        """How many attempts were settled since, by that term or by any. Raises `AwayError`."""
        return int(await self.value(_SETTLED, after_event, term))

    async def unknown(self, *, since: datetime) -> int:
        """How many attempts became unknown since then, by the database's clock. Raises `AwayError`."""
        return int(await self.value(_UNKNOWN, since))

    def logged(self, replica: str, event: str, *, since: datetime, **values: object) -> list[dict[str, Any]]:
        """The lines of one replica with that event and these values from then on, oldest first."""
        found = []
        for line in reversed(self._target.log(replica)):  # asked often, and a log is long
            if datetime.fromisoformat(line["timestamp"]) < since:
                break
            if line["event"] == event and values.items() <= line.items():
                found.append(line)
        return found[::-1]

    def _away(self, error: Exception) -> AwayError:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        return AwayError(f"{type(error).__name__}: {error}")


async def until(look: Callable[[], Awaitable[SeenT | None]], patience_s: float) -> SeenT:
    """Look until there is something to see; a database that is away is looked at again. Raises `TimeoutError`."""
    async with asyncio.timeout(patience_s):
        while True:
            try:
                if (seen := await look()) is not None:
                    return seen
            except AwayError:
                pass  # away is nothing to see yet
            await asyncio.sleep(POLL_S)
