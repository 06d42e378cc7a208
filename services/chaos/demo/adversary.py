"""Kills the leader every so often, and brings the dead back a moment later."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from chaos.demo.figures import Figures, Takeover
from chaos.demo.observer import Observer
from cluster.process import ManagedProcess


class Adversary:
    """SIGKILL to whoever leads. Who is dead, for whatever reason, is started again after a moment."""

    def __init__(
        self,
        replicas: Sequence[ManagedProcess],
        observer: Observer,
        figures: Figures,
        *,
        restart_after_s: float,
    ) -> None:
        self._replicas = {replica.name: replica for replica in replicas}
        self._observer = observer
        self._figures = figures
        self._restart_after_s = restart_after_s
        self._restarts: dict[str, asyncio.Task[None]] = {}
        self._killing: asyncio.Task[None] | None = None

    async def kill_every(self, every_s: float) -> None:
        """Kill until cancelled, on a steady beat: a slow takeover does not shift the next kill. 0: never."""
        if not every_s:
            return
        loop = asyncio.get_running_loop()
        next_at = loop.time() + every_s
        while True:
            await asyncio.sleep(max(0.0, next_at - loop.time()))
            next_at = max(next_at, loop.time()) + every_s
            await self.kill_leader()

    async def kill_leader(self) -> None:
        """Wait until somebody leads, then kill exactly them."""
        await self._observer.look()
        while (leader := self._figures.leader) is None or leader.term is None:
            await self._observer.looked()
        after_seq = await self._observer.newest_event()
        takeover = Takeover(leader.name, leader.term, datetime.now(UTC), after_seq)
        self._figures.takeovers.append(takeover)
        # Shielded: who cancels us must not leave a half-dead process behind, which could not be started.
        self._killing = asyncio.create_task(self._kill(self._replicas[leader.name]))
        await asyncio.shield(self._killing)

    async def revive(self) -> None:
        """Restart the dead until cancelled; raises what a restart raised."""
        while True:
            for name, replica in self._replicas.items():
                if not replica.is_running and name not in self._restarts:
                    self._restarts[name] = asyncio.create_task(self._restart(replica))
            for name in [name for name, task in self._restarts.items() if task.done()]:
                self._restarts.pop(name).result()
            await self._observer.looked()

    async def finish(self) -> None:
        """Wait for restarts under way, and start whoever is dead still; raises what they raised."""
        if self._killing is not None:
            await self._killing
        await asyncio.gather(*self._restarts.values())
        await asyncio.gather(*(replica.start() for replica in self._replicas.values()))

    def abandon(self) -> None:
        """Start nobody any more: the cluster is about to be stopped."""
        for restart in self._restarts.values():
            restart.cancel()

    async def _kill(self, victim: ManagedProcess) -> None:
        await victim.kill()

    async def _restart(self, victim: ManagedProcess) -> None:
        await asyncio.sleep(self._restart_after_s)
        await victim.start()
