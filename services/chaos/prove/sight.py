"""What can be seen of a cluster that is being wronged: books, logs, processes, the judge's verdict."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import asyncpg

from chaos.drive.log_reader import LogReader
from chaos.judge.judging import Sources, judge
from chaos.judge.promptness import Promptness
from chaos.judge.verdict import Verdict
from cluster.cluster import Cluster

PATIENCE_S = 40.0
"""How long anything may take here: a take-over needs the lease's three seconds, everything else far less."""
POLL_S = 0.02

SeenT = TypeVar("SeenT")

_PROGRESS = """
    SELECT count(*) AS invoices, count(*) FILTER (WHERE i.status = 'paid') AS paid, count(t.id) AS trying
    FROM invoices i LEFT JOIN payment_attempts t ON t.invoice_id = i.id AND t.status = 'open'
"""


class NotProvokedError(Exception):
    """The situation did not come about, so that nothing was shown; the message says what was waited for."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Invoices opened, paid, and those whose attempt is under way."""

    invoices: int
    paid: int
    trying: int


@dataclass(slots=True)
class Sight:
    """Looks at a cluster from outside, as its database's owner and as the judge."""

    cluster: Cluster
    _readers: dict[str, LogReader] = field(default_factory=dict, init=False)
    _logged_before: dict[str, int] = field(default_factory=dict, init=False)

    async def verdict(self, *, at_rest: bool = True, promptness: Promptness | None = None) -> Verdict:
        """What the judge says; `at_rest`: nothing may be in flight."""
        sandbox = self.cluster.sandbox
        sources = Sources(self.cluster.judge_database_url, sandbox.url, sandbox.admin_key)
        return await judge(sources, require_rest=at_rest, promptness=promptness)

    async def until(self, what: str, look: Callable[[], Awaitable[SeenT | None]]) -> SeenT:
        """Poll other processes until there is something to see. Raises `NotProvokedError`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    if (seen := await look()) is not None:
                        return seen
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NotProvokedError(f"not within {PATIENCE_S:g} s: {what}") from None

    async def until_charged(self, what: str, reached: Callable[[Progress], bool]) -> None:
        """Wait until the charges are so far. Raises `NotProvokedError`."""

        async def look() -> Progress | None:
            [row] = await self.fetch(_PROGRESS)
            progress = Progress(**row)
            return progress if reached(progress) else None

        await self.until(what, look)

    async def until_paid(self, count: int) -> None:
        """Wait until so many invoices are paid, and nothing is under way. Raises `NotProvokedError`."""
        await self.until_charged(
            f"{count} invoices paid", lambda progress: progress.paid >= count and not progress.trying
        )

    async def until_logged(self, name: str, event: str, **values: object) -> dict[str, Any]:
        """Wait until a replica has logged that since its last launch. Raises `NotProvokedError`."""

        async def look() -> dict[str, Any] | None:
            lines = self._lines(name)[self._logged_before.get(name, 0) :]
            found = [line for line in lines if line["event"] == event and values.items() <= line.items()]
            return found[0] if found else None

        return await self.until(f"{name} logs {event}", look)

    async def until_frozen(self, name: str) -> None:
        """Wait until a replica has stopped itself (SIGSTOP). Raises `NotProvokedError`."""
        state = Path(f"/proc/{self.cluster.member(name).pid}/stat")

        async def look() -> bool | None:
            # proc(5): the state is the first field after the name in brackets.
            return state.read_text().rpartition(")")[2].split()[0] == "T" or None  # noqa: ASYNC240  # not on a disk

        await self.until(f"{name} stops itself", look)

    async def clock(self) -> datetime:
        """The database's real time."""
        [row] = await self.fetch("SELECT clock_timestamp()")
        instant: datetime = row[0]
        return instant

    async def fetch(self, query: str, *parameters: object) -> "list[asyncpg.Record]":
        """Rows, as the superuser."""
        return await self.cluster.postgres.fetch(query, *parameters)

    async def execute(self, statement: str, *parameters: object) -> None:
        """A statement, as the superuser."""
        connection = await self.cluster.postgres.connect()
        try:
            await connection.execute(statement, *parameters)
        finally:
            connection.terminate()

    async def tamper(self, statement: str, *parameters: object) -> None:
        """A statement of the database's owner, whom no trigger stops."""
        connection = await self.cluster.postgres.connect()
        try:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(statement, *parameters)
        finally:
            connection.terminate()

    def forget_log(self, name: str) -> None:
        """What a replica has logged so far counts no more."""
        self._logged_before[name] = len(self._lines(name))

    def _lines(self, name: str) -> list[dict[str, Any]]:
        return self._readers.setdefault(name, LogReader(self.cluster.member(name).log_path)).lines()
