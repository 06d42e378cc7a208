"""One run: wait, strike, see who takes over, undo."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from chaos.failover import timeline
from chaos.failover.faults import fault
from chaos.failover.logs import Logs
from chaos.failover.plan import Path, Plan
from chaos.failover.steady import FailoverError, Watch
from chaos.failover.timeline import FirstCharge, Struck, Takeover
from cluster.cluster import Cluster

if TYPE_CHECKING:
    import asyncpg

TAKEOVER_TIMEOUT_S = 60.0
# The figure comes from the database's clock, not from when we look: looking often would only cost CPU.
POLL_S = 0.05


@dataclass(slots=True)
class Drill:
    """Makes runs on one cluster."""

    cluster: Cluster
    plan: Plan
    connection: "asyncpg.Connection[Any]"
    watch: Watch
    logs: Logs
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.plan.seed)  # noqa: S311  # repeatable on purpose

    async def run(self, number: int, path: Path, stop: asyncio.Event) -> Takeover | None:
        """Make one run; None when told to stop before the leader was struck.

        Raises `FailoverError`. Whatever happens, the fault is undone.
        """
        leader = await self.watch.until_steady(path, self.dice, stop)
        if leader is None:
            return None
        victim = self.cluster.member(leader.name)
        blow = fault(self.plan.kind, self.cluster)
        after_seq = await self.watch.newest_event()
        struck = Struck(leader.name, leader.term, datetime.now(UTC), after_seq)
        blow.strike(victim)
        try:
            charge = await self._first_charge(struck, blow.told)
        finally:
            await blow.undo(victim)
        return Takeover(
            number=number,
            path=path,
            victim=struck.victim,
            victim_term=struck.term,
            successor=charge.holder.partition("#")[0],
            successor_term=charge.term,
            struck_at=struck.at,
            stages=await timeline.stages(self.connection, self.logs, struck, charge),
            measured=timeline.measured(self.logs, struck, charge),
        )

    async def _first_charge(self, struck: Struck, told: str) -> FirstCharge:
        try:
            async with asyncio.timeout(TAKEOVER_TIMEOUT_S):
                while True:
                    charge = await timeline.first_charge(self.connection, struck)
                    if charge is not None:
                        return charge
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise FailoverError(
                f"{struck.victim} ({told}, term {struck.term}) has no successor that charges "
                f"after {TAKEOVER_TIMEOUT_S:g} s"
            ) from None
