"""A Coordinator in memory that passes the same contract suite as the real ones.

For tests of the core under virtual time. `FakeService` is the coordination service, shared by all;
each replica has its own `FakeCoordinator`, whose `link` to the service can be cut.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

from middleman.leadership.timing import LeaseTiming, granted_ttl_error
from middleman.ports.clock import Clock
from middleman.ports.coordinator import Candidacy, Election, LeaderRecord
from middleman.ports.errors import (
    CandidacyLost,
    CoordinatorMisconfigured,
    CoordinatorUnavailable,
    TrustLost,
)
from middleman.ports.trust import Trust, TrustWindow

T = TypeVar("T")


@dataclass(slots=True)
class _Lease:
    ttl_s: int
    expires_s: float


class FakeService:
    """Leases, one key per scope, and a revision that grows with every change."""

    def __init__(self, clock: Clock, *, shortest_ttl_s: int = 1) -> None:
        self._clock = clock
        self._shortest_ttl_s = shortest_ttl_s
        self._leases: dict[int, _Lease] = {}
        self._keys: dict[int, LeaderRecord] = {}
        self._last_lease_id = 0
        self.revision = 1
        self.changed = asyncio.Condition()

    def grant(self, ttl_s: int) -> tuple[int, int]:
        """A new lease: its id and its TTL, which may be longer than asked for."""
        self._expire()
        self._last_lease_id += 1
        granted_s = max(ttl_s, self._shortest_ttl_s)
        self._leases[self._last_lease_id] = _Lease(granted_s, self._clock.boottime_s() + granted_s)
        return self._last_lease_id, granted_s

    def renew(self, lease_id: int) -> int:
        """The lease's TTL, or 0 when it is gone."""
        self._expire()
        lease = self._leases.get(lease_id)
        if lease is None:
            return 0
        lease.expires_s = self._clock.boottime_s() + lease.ttl_s
        return lease.ttl_s

    def revoke(self, lease_id: int) -> bool:
        """End the lease and delete what it carries; whether it still existed."""
        self._expire()
        return self._drop(lease_id)

    def claim(self, scope: int, candidate: str, lease_id: int) -> LeaderRecord | None:
        """Create the key if it is absent; who holds it now, or ``None`` when the lease is gone."""
        self._expire()
        if lease_id not in self._leases:
            return None
        if scope not in self._keys:
            self.revision += 1
            self._keys[scope] = LeaderRecord(candidate, self.revision, lease_id)
        return self._keys[scope]

    def read(self, scope: int) -> LeaderRecord | None:
        """Who holds the key."""
        self._expire()
        return self._keys.get(scope)

    def delete_key(self, scope: int) -> None:
        """Delete the key by hand; its lease lives on."""
        del self._keys[scope]
        self.revision += 1

    async def tell(self) -> None:
        """Wake everyone who watches."""
        async with self.changed:
            self.changed.notify_all()

    def _expire(self) -> None:
        now_s = self._clock.boottime_s()
        for lease_id in [i for i, lease in self._leases.items() if lease.expires_s <= now_s]:
            self._drop(lease_id)

    def _drop(self, lease_id: int) -> bool:
        if self._leases.pop(lease_id, None) is None:
            return False
        for scope in [s for s, record in self._keys.items() if record.lease_id == lease_id]:
            self.delete_key(scope)
        return True


class LinkMode(Enum):
    """What passes between one replica and the service."""

    OPEN = auto()
    BLOCKED = auto()
    """Nothing, in either direction."""
    DEAF = auto()
    """Requests arrive; answers are held back until the link opens."""


class FakeLink:
    """One replica's way to the service."""

    def __init__(self, service: FakeService, timeout_s: float) -> None:
        self._service = service
        self._timeout_s = timeout_s
        self._open = asyncio.Event()
        self._open.set()
        self.mode = LinkMode.OPEN

    def set_mode(self, mode: LinkMode) -> None:
        """Change what passes."""
        self.mode = mode
        if mode is LinkMode.OPEN:
            self._open.set()
        else:
            self._open.clear()

    async def exchange(self, operation: Callable[[], T]) -> T:
        """One request and its answer, within the RPC timeout."""
        try:
            async with asyncio.timeout(self._timeout_s):
                await asyncio.sleep(0)
                if self.mode is LinkMode.BLOCKED:
                    await self._open.wait()
                revision = self._service.revision
                answer = operation()
                if self._service.revision != revision:
                    await self._service.tell()
                await self._open.wait()
                return answer
        except TimeoutError:
            raise CoordinatorUnavailable(
                f"the coordinator gave no answer within {self._timeout_s:g} s"
            ) from None

    async def wait_for_change(self, timeout_s: float) -> None:
        """Wait for news, which a closed link does not carry, or for ``timeout_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                async with self._service.changed:
                    await self._service.changed.wait()
                await self._open.wait()


class FakeCandidacy:
    """Implements `middleman.ports.coordinator.Candidacy`."""

    def __init__(
        self,
        owner: "FakeCoordinator",
        scope: int,
        candidate: str,
        lease_id: int,
        window: TrustWindow,
    ) -> None:
        self._link, self._clock, self._timing = owner.link, owner.clock, owner.timing
        self._service = owner.service
        self._scope, self._candidate, self._lease_id, self._window = scope, candidate, lease_id, window
        loop = asyncio.get_running_loop()
        self._won: asyncio.Future[Election] = loop.create_future()
        self._lost: asyncio.Future[str] = loop.create_future()
        self._life = asyncio.create_task(self._live())

    @property
    def trust(self) -> Trust:
        """See the port."""
        return self._window

    async def elected(self) -> Election:
        """See the port."""
        either: set[asyncio.Future[Any]] = {self._won, self._lost}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if self._lost.done():
            raise CandidacyLost(self._lost.result())
        return self._won.result()

    async def lost(self) -> str:
        """See the port."""
        return await asyncio.shield(self._lost)

    async def still_elected(self) -> bool:
        """See the port."""
        if not self._won.done() or self._window.lost_because is not None:
            return False
        try:
            record = await self._link.exchange(lambda: self._service.read(self._scope))
        except CoordinatorUnavailable:
            return False
        held = record is not None and record.revision == self._won.result().revision
        return held and self._window.lost_because is None

    async def resign(self) -> None:
        """See the port."""
        self._end("resigned")
        self._life.cancel()
        await asyncio.wait({self._life})
        with suppress(CoordinatorUnavailable):
            await self._link.exchange(lambda: self._service.revoke(self._lease_id))

    def _end(self, reason: str) -> None:
        self._window.end(reason)
        if not self._lost.done():
            self._lost.set_result(self._window.lost_because or reason)

    async def _live(self) -> None:
        parts = {asyncio.create_task(part) for part in (self._keep_alive(), self._expire(), self._stand())}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            self._end(str(done.pop().exception()))
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _keep_alive(self) -> None:
        while True:
            await self._clock.sleep(self._timing.keepalive_interval_s)
            asked_s = self._clock.boottime_s()
            try:
                ttl_s = await self._link.exchange(lambda: self._service.renew(self._lease_id))
            except CoordinatorUnavailable:
                continue
            if ttl_s == 0:
                raise CandidacyLost("the lease is gone")
            try:
                self._window.extend(asked_s + ttl_s - self._timing.margin_s)
            except TrustLost as error:
                raise CandidacyLost(str(error)) from error

    async def _expire(self) -> None:
        while (reason := self._window.lost_because) is None:
            await self._clock.sleep(max(self._window.remaining_s(), 0.001))
        raise CandidacyLost(reason)

    async def _stand(self) -> None:
        vacant_s: float | None = None
        while True:
            with suppress(CoordinatorUnavailable):
                record = await self._link.exchange(
                    lambda: self._service.claim(self._scope, self._candidate, self._lease_id)
                )
                if record is None:
                    raise CandidacyLost("the lease is gone")
                if record.lease_id == self._lease_id:
                    break
            await self._link.wait_for_change(self._timing.verify_interval_s / 10)
            vacant_s = self._clock.boottime_s()
        self._won.set_result(Election(record.revision, record.lease_id, vacant_s))
        await self._hold(record.revision)

    async def _hold(self, revision: int) -> None:
        while True:
            await self._link.wait_for_change(self._timing.verify_interval_s)
            with suppress(CoordinatorUnavailable):
                record = await self._link.exchange(lambda: self._service.read(self._scope))
                if record is None or record.revision != revision:
                    raise CandidacyLost("the election key was deleted or taken")


class FakeCoordinator:
    """Implements `middleman.ports.coordinator.Coordinator`."""

    def __init__(self, service: FakeService, clock: Clock, timing: LeaseTiming) -> None:
        self.service = service
        self.clock = clock
        self.timing = timing
        self.link = FakeLink(service, timing.rpc_timeout_s)
        self.entered = 0
        """How often a candidacy was asked for, whether or not it was obtained."""

    @asynccontextmanager
    async def candidacy(self, scope: int, candidate: str) -> AsyncIterator[Candidacy]:
        """See the port."""
        self.entered += 1
        asked_s = self.clock.boottime_s()
        lease_id, ttl_s = await self.link.exchange(lambda: self.service.grant(self.timing.lease_ttl_s))
        window = TrustWindow(self.clock, asked_s + ttl_s - self.timing.margin_s)
        candidacy = FakeCandidacy(self, scope, candidate, lease_id, window)
        try:
            yield candidacy
        finally:
            await candidacy.resign()

    async def leader(self, scope: int) -> LeaderRecord | None:
        """See the port."""
        return await self.link.exchange(lambda: self.service.read(scope))

    async def revoke(self, lease_id: int) -> bool:
        """See the port."""
        return await self.link.exchange(lambda: self.service.revoke(lease_id))

    async def check(self) -> None:
        """See the port."""
        lease_id, ttl_s = await self.link.exchange(lambda: self.service.grant(self.timing.lease_ttl_s))
        await self.revoke(lease_id)
        if ttl_s > self.timing.lease_ttl_s:
            raise CoordinatorMisconfigured(granted_ttl_error(self.timing, granted_ttl_s=ttl_s))

    async def close(self) -> None:
        """See the port; there is nothing to close."""
