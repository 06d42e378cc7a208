"""Kills the leader every so often, and brings the dead back a moment later."""

import asyncio
from datetime import UTC, datetime

from chaos.demo.figures import Figures, Takeover
from chaos.demo.observer import Observer
from cluster.process import ManagedProcess


class Adversary:
    """SIGKILL to whoever leads. Restarts run beside it; `finish` waits for the last of them."""

    def __init__(
        self,
        replicas: tuple[ManagedProcess, ...],
        observer: Observer,
        figures: Figures,
        *,
        every_s: float,
        restart_after_s: float,
    ) -> None:
        self._replicas = {replica.name: replica for replica in replicas}
        self._observer = observer
        self._figures = figures
        self._every_s = every_s
        self._restart_after_s = restart_after_s
        self._restarts: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Kill until cancelled. The beat is steady: a slow takeover does not shift the next kill."""
        loop = asyncio.get_running_loop()
        next_at = loop.time() + self._every_s
        while True:
            await asyncio.sleep(max(0.0, next_at - loop.time()))
            next_at = max(next_at, loop.time()) + self._every_s
            await self.kill_leader()

    async def kill_leader(self) -> None:
        """Wait until somebody leads, then kill exactly them."""
        await self._observer.look()
        while (leader := self._figures.leader) is None or leader.term is None:
            await self._observer.looked()
        victim = self._replicas[leader.name]
        after_seq = await self._observer.newest_event()
        killed_at = datetime.now(UTC)
        self._figures.takeovers.append(Takeover(leader.name, leader.term, killed_at, after_seq))
        await victim.kill()
        restart = asyncio.create_task(self._restart(victim))
        self._restarts.add(restart)
        restart.add_done_callback(self._restarts.discard)

    async def finish(self) -> None:
        """Wait for restarts under way; raises what they raised."""
        await asyncio.gather(*self._restarts)

    async def _restart(self, victim: ManagedProcess) -> None:
        await asyncio.sleep(self._restart_after_s)
        await victim.start()
