"""Reads what the run looks like from the database, four times a second, with the judge's role."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chaos.demo.figures import Figures, ReplicaFigure, Takeover
from chaos.demo.ticker import read_ticks
from cluster.process import ManagedProcess

if TYPE_CHECKING:
    import asyncpg

INTERVAL_S = 0.25
SETTLED_AFTER_S = 3.0  # rows with smaller numbers may still be committed this long after larger ones
RATE_WINDOW_S = 1.0

_CLOCK = "SELECT business_now() AS now, rate FROM test_clock"
_OFFICE = """
    SELECT f.term, f.holder, t.started_at, t.ended_at IS NULL AS in_office
    FROM fence f JOIN terms t ON t.scope = f.scope AND t.number = f.term WHERE f.scope = 0
"""
_ROLES = "SELECT name, role, last_seen_at > clock_timestamp() - interval '3 s' AS fresh FROM replicas"
_OUTCOMES = """
    SELECT data->>'outcome' AS outcome, count(*) AS settled
    FROM events WHERE seq > $1 AND seq <= $2 AND kind = 'attempt.settled' GROUP BY 1
"""
_NEWEST = "SELECT coalesce(max(seq), 0) FROM events"
_DUE = """
    SELECT count(*) FROM subscriptions
    WHERE scope = 0 AND status = 'active' AND next_due_at <= business_now()
      AND (ends_at IS NULL OR next_due_at < ends_at)
"""
_SUCCESSOR = (
    "SELECT number, holder, started_at FROM terms WHERE scope = 0 AND number > $1 ORDER BY number LIMIT 1"
)
_FIRST_CHARGE = """
    SELECT min(at) FROM events WHERE seq > $1 AND term >= $2 AND kind = 'attempt.settled'
"""


class Observer:
    """Keeps `figures` up to date until it is cancelled."""

    def __init__(
        self,
        connection: "asyncpg.Connection[Any]",
        replicas: Sequence[ManagedProcess],
        figures: Figures,
        *,
        on_look: Callable[[], None] = lambda: None,
    ) -> None:
        self._connection = connection
        self._processes = replicas
        self._figures = figures
        self._on_look = on_look
        self._counted: Counter[str] = Counter()  # up to and including _counted_to
        self._counted_to = 0
        self._newest: deque[tuple[float, int]] = deque()  # (when, highest event number then)
        self._charged: deque[tuple[float, int]] = deque()
        self._told_to = 0
        self._lock = asyncio.Lock()
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Look, and look again."""
        while True:
            await self.look()
            await asyncio.sleep(INTERVAL_S)

    async def look(self) -> None:
        """Look once."""
        async with self._lock:  # one connection, one query at a time
            clock = await self._connection.fetchrow(_CLOCK)
            self._figures.business_now, self._figures.clock_rate = clock["now"], clock["rate"]
            self._figures.due = await self._connection.fetchval(_DUE)
            await self._look_at_replicas()
            await self._count_outcomes()
            await self._follow_takeovers()
            ticks = await read_ticks(self._connection, after=self._told_to)
        for tick in ticks:
            self._figures.ticker.append(tick)
            self._told_to = max(self._told_to, tick.seq)
        self._on_look()
        looked, self._looked = self._looked, asyncio.Event()
        looked.set()

    async def looked(self) -> None:
        """Wait until the next look is done."""
        await self._looked.wait()

    async def newest_event(self) -> int:
        """The highest number of an event so far."""
        async with self._lock:
            return int(await self._connection.fetchval(_NEWEST))

    async def _look_at_replicas(self) -> None:
        office = await self._connection.fetchrow(_OFFICE)
        roles = {row["name"]: row["role"] for row in await self._connection.fetch(_ROLES) if row["fresh"]}
        # A killed leader stays at the fence until the next raises it, also when it is started again meanwhile.
        buried = {takeover.term for takeover in self._figures.takeovers}
        in_office = office is not None and office["in_office"] and office["term"] not in buried
        leader = _name(office["holder"]) if in_office else None

        def figure(process: ManagedProcess) -> ReplicaFigure:
            if not process.is_running:
                return ReplicaFigure(process.name, "dead", None, None)
            if process.name == leader:
                return ReplicaFigure(process.name, "leader", office["term"], process.pid)
            role = roles.get(process.name, "starting")
            return ReplicaFigure(
                process.name, role if role in ("follower", "candidate") else "starting", None, process.pid
            )

        self._figures.replicas = [figure(process) for process in self._processes]

    async def _count_outcomes(self) -> None:
        """Count the tail anew each time: a batch may commit after one with higher numbers."""
        now = time.monotonic()
        newest = await self._connection.fetchval(_NEWEST)
        self._newest.append((now, newest))
        settled_to = self._counted_to
        while self._newest and self._newest[0][0] <= now - SETTLED_AFTER_S:
            settled_to = self._newest.popleft()[1]
        if settled_to > self._counted_to:
            self._counted += await self._outcomes(self._counted_to, settled_to)
            self._counted_to = settled_to
        outcomes = self._counted + await self._outcomes(self._counted_to, newest)
        self._figures.outcomes = dict(outcomes)
        self._charged.append((now, outcomes["succeeded"]))
        while len(self._charged) > 2 and self._charged[1][0] <= now - RATE_WINDOW_S:
            self._charged.popleft()
        (since, before), (until, after) = self._charged[0], self._charged[-1]
        if until > since:
            per_s = max(0.0, (after - before) / (until - since))
            self._figures.charges_per_s.append(per_s)
            self._figures.peak_charges_per_s = max(per_s, self._figures.peak_charges_per_s)

    async def _outcomes(self, after: int, to: int) -> Counter[str]:
        rows = await self._connection.fetch(_OUTCOMES, after, to)
        return Counter({row["outcome"] or "unknown": row["settled"] for row in rows})

    async def _follow_takeovers(self) -> None:
        for takeover in self._figures.takeovers[-3:]:
            if takeover.first_charge_s is None:
                await self._follow(takeover)

    async def _follow(self, takeover: Takeover) -> None:
        if takeover.took_office_s is None:
            successor = await self._connection.fetchrow(_SUCCESSOR, takeover.term)
            if successor is None:
                return
            takeover.successor, takeover.successor_term = _name(successor["holder"]), successor["number"]
            takeover.took_office_s = _seconds(takeover.killed_at, successor["started_at"])
        first = await self._connection.fetchval(_FIRST_CHARGE, takeover.after_seq, takeover.successor_term)
        if first is not None:
            takeover.first_charge_s = _seconds(takeover.killed_at, first)


def _name(holder: str) -> str:
    """`replica-2#5f1c…` is one life of the process `replica-2`."""
    return holder.partition("#")[0]


def _seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()
