"""When a run may begin: one leads and charges without a backlog, all others are warm and feel its pulse."""

import asyncio
import random
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

from chaos.failover.logs import Logs
from chaos.failover.plan import Path, Plan
from cluster.process import ManagedProcess

if TYPE_CHECKING:
    import asyncpg

TIMEOUT_S = 60.0
POLL_S = 0.1
# The moment of the fault is spread over more than one keep-alive interval of any lease that we use.
PHASE_S = (0.5, 2.0)
CHARGING_WITHIN_S = 0.5
_BACKLOG_S = 1.0
_BEFORE_OFFICE = timedelta(seconds=1)  # a pulse may be felt a little before the term is on record

_OFFICE = """
    SELECT t.number, t.holder, t.started_at FROM fence f JOIN terms t ON t.scope = f.scope AND t.number = f.term
    WHERE f.scope = 0 AND t.ended_at IS NULL
"""
_CHARGING = """
    SELECT at > clock_timestamp() - make_interval(secs => $2) FROM events
    WHERE kind = 'attempt.settled' AND term = $1 ORDER BY seq DESC LIMIT 1
"""
_DUE = "SELECT count(*) FROM subscriptions WHERE status = 'active' AND next_due_at <= business_now()"
_NEWEST = "SELECT coalesce(max(seq), 0) FROM events"


class FailoverError(Exception):
    """The measurement cannot go on; the message says what did not happen."""


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads a steady cluster."""

    name: str
    holder: str
    term: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Watch:
    """Looks whether the cluster is steady."""

    plan: Plan
    replicas: tuple[ManagedProcess, ...]
    connection: "asyncpg.Connection[Any]"
    http: httpx.AsyncClient
    logs: Logs

    async def until_steady(self, path: Path, dice: random.Random, stop: asyncio.Event) -> Leader | None:
        """Wait for a steady cluster, and then a little longer by chance; None when told to stop.

        Raises `FailoverError` when it takes more than `TIMEOUT_S`.
        """
        missing = "nothing was looked at"
        try:
            async with asyncio.timeout(TIMEOUT_S):
                while not stop.is_set():
                    found = await self._look(path)
                    if isinstance(found, Leader):
                        await asyncio.sleep(dice.uniform(*PHASE_S))
                        if await self._look(path) == found:
                            return found
                    else:
                        missing = found
                        await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise FailoverError(f"the cluster is not steady after {TIMEOUT_S:g} s: {missing}") from None
        return None

    async def newest_event(self) -> int:
        """The highest number of an event so far."""
        return int(await self.connection.fetchval(_NEWEST))

    async def _look(self, path: Path) -> Leader | str:
        """The leader of a steady cluster, or what it lacks."""
        for replica in self.replicas:
            if await self._get(replica, "/readyz") is None:
                return f"{replica.name} is not ready"
        office = await self.connection.fetchrow(_OFFICE)
        if office is None:
            return "nobody is in office"
        leader = Leader(
            office["holder"].partition("#")[0], office["holder"], office["number"], office["started_at"]
        )
        leading = {}
        for replica in self.replicas:
            told = await self._get(replica, "/leader")
            if told is None or told["leads"]:
                leading[replica.name] = told and told["term"]
        if leading != {leader.name: leader.term}:
            return f"{leader.name} holds term {leader.term}, but these say that they lead: {leading}"
        if not await self.connection.fetchval(_CHARGING, leader.term, CHARGING_WITHIN_S):
            return f"{leader.name} charges nothing"
        due = await self.connection.fetchval(_DUE)
        if due > max(1.0, self.plan.charges_per_s * _BACKLOG_S):
            return f"{leader.name} has a backlog of {due}"
        unfelt = self._unfelt(leader) if path is Path.PULSE else ""
        return unfelt or leader

    def _unfelt(self, leader: Leader) -> str:
        """Who does not feel the leader's pulse yet, in words; empty when all do."""
        self.logs.read()
        lines = self.logs.since(leader.since - _BEFORE_OFFICE, "pulse.felt")
        feeling = {line.replica for line in lines if line.values.get("leader") == leader.holder}
        numb = {replica.name for replica in self.replicas} - feeling - {leader.name}
        return f"{', '.join(sorted(numb))} not feeling the pulse of {leader.holder}" if numb else ""

    async def _get(self, replica: ManagedProcess, path: str) -> dict[str, Any] | None:
        try:
            answer = await self.http.get(f"{replica.url}{path}")
        except httpx.HTTPError:
            return None
        content: dict[str, Any] | None = answer.json() if answer.status_code == httpx.codes.OK else None
        return content
