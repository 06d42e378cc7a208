"""The lease: granted once, renewed by a majority of the members, trusted for less than it lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import structlog
from etcd3 import etcdrpc

from middleman.adapters.etcd.faults import RPC_ERRORS, Fault, LeaseNotFound, classify, describe
from middleman.adapters.etcd.members import Member, Members
from middleman.ports.clock import Clock
from middleman.ports.errors import (
    CandidacyLost,
    CoordinatorMisconfigured,
    CoordinatorUnavailable,
    TrustLost,
)
from middleman.ports.trust import TrustWindow

log = structlog.get_logger(__name__)

_LOST = "etcd says that the lease is gone"
_GONE = 0
"""The TTL by which a member says that it knows no such lease."""


async def grant(members: Members, clock: Clock) -> Lease:
    """Ask for a lease of the configured length. A copy granted to a hedged call expires unused.

    Raises:
        CoordinatorUnavailable: no member answered, or the answer came when trust had run out.
        CoordinatorMisconfigured: etcd refuses us.
    """
    asked_s = clock.boottime_s()  # before the request leaves: the lease may begin to run at once
    answer = await members.call(
        lambda member: member.lease.LeaseGrant,
        etcdrpc.LeaseGrantRequest(TTL=members.timing.lease_ttl_s),
    )
    granted_ttl_s = int(answer.TTL)  # the server may have raised it, by its own --election-timeout
    if granted_ttl_s > members.timing.lease_ttl_s:
        log.warning("lease.ttl_raised", asked_s=members.timing.lease_ttl_s, granted_s=granted_ttl_s)
    # One member's word: where another one leads etcd's raft, with another timeout, the lease is as long as asked for.
    trusted_ttl_s = min(granted_ttl_s, members.timing.lease_ttl_s)
    window = TrustWindow(clock, asked_s + trusted_ttl_s - members.timing.margin_s)
    return Lease(members, clock, int(answer.ID), granted_ttl_s, window)


async def revoke(members: Members, lease_id: int) -> bool:
    """Revoke a lease, and with it every key that it carries; ``False`` if it was already gone.

    Raises:
        CoordinatorUnavailable: no member answered in time.
    """
    try:
        request = etcdrpc.LeaseRevokeRequest(ID=lease_id)
        await members.call(lambda member: member.lease.LeaseRevoke, request)
    except LeaseNotFound:
        return False
    return True


class Lease:
    """One granted lease and the trust that its renewals carry."""

    def __init__(
        self, members: Members, clock: Clock, lease_id: int, granted_ttl_s: int, window: TrustWindow
    ) -> None:
        self.id = lease_id
        self.granted_ttl_s = granted_ttl_s
        self.trust = window
        self._members = members
        self._clock = clock
        self._renewed = asyncio.Event()

    async def keep_alive(self, still_carries: Callable[[], Awaitable[bool]]) -> None:
        """Renew until cancelled, on the event loop on purpose: a wedged loop must lose its lease.

        ``still_carries`` reads whether the key is there under this lease: the proof against members that say that
        the lease is gone.

        Raises:
            CandidacyLost: the lease is gone, or a renewal came too late.
        """
        interval_s = self._members.timing.keepalive_interval_s
        began_s = self._clock.boottime_s()
        renewed = True
        while True:
            elapsed_s = self._clock.boottime_s() - began_s
            pause_s = interval_s if renewed else interval_s / 3  # a lost renewal is repeated sooner
            await self._clock.sleep(max(0.05, pause_s - elapsed_s))
            began_s = self._clock.boottime_s()
            try:
                renewed = await self.renew()
            except LeaseNotFound as error:
                if not await still_carries():
                    raise CandidacyLost(_LOST) from error
                log.error("lease.denied", reason="etcd's members deny a lease that carries the election key")
                renewed = False  # if it goes on, trust runs out by itself

    async def renew(self) -> bool:
        """Ask all members at once; extend trust when a majority of them confirms.

        A majority, because a stale leader of etcd's own raft goes on confirming leases that the real
        one lets expire (etcd issues 15247 and 16822). All at once, so that a hung member costs nothing.
        That the lease is gone takes a majority as well: a member that lags behind does not know it yet.

        Raises:
            LeaseNotFound: a majority of the members says so.
            CandidacyLost: the renewal came too late.
        """
        asked_s = self._clock.boottime_s()
        majority = self._members.config.majority
        confirmed_ttls_s: list[int] = []
        denied = 0
        asked = {asyncio.create_task(self._confirm(member)) for member in self._members.all}
        try:
            for answer in asyncio.as_completed(asked):
                ttl_s = await answer
                if ttl_s == _GONE:
                    denied += 1
                elif ttl_s is not None:
                    confirmed_ttls_s.append(ttl_s)
                if majority in (len(confirmed_ttls_s), denied):
                    break
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if denied == majority:
            raise LeaseNotFound(_LOST)
        if denied:
            log.warning("lease.denied_by_few", denied=denied, confirmed=len(confirmed_ttls_s))
        if len(confirmed_ttls_s) < majority:
            log.warning("lease.renewal_failed", confirmed=len(confirmed_ttls_s), members=len(asked))
            return False
        try:
            self.trust.extend(asked_s + min(confirmed_ttls_s) - self._members.timing.margin_s)
        except TrustLost as error:
            raise CandidacyLost(str(error)) from error
        self._renewed.set()
        self._renewed.clear()  # wakes those who wait now, and nobody later
        return True

    async def fresh(self) -> None:
        """Wait until at least half of the TTL is left: nobody should win on a lease about to expire."""
        while self.trust.remaining_s() < min(self.granted_ttl_s, self._members.timing.lease_ttl_s) / 2:
            await self._renewed.wait()

    async def _confirm(self, member: Member) -> int | None:
        """One keep-alive at one member: the TTL in seconds, `_GONE`, or ``None`` for no usable answer."""
        token = self._members.token
        try:
            return await self._keep_alive_once(member)
        except RPC_ERRORS as error:
            match classify(error):
                case Fault.LEASE_NOT_FOUND if not self._members.identity.is_foreign(member.endpoint):
                    return _GONE
                case Fault.AUTHENTICATE:
                    await self._authenticate(token)
                case _:
                    log.debug("lease.member_failed", member=member.endpoint, error=describe(error))
            return None

    async def _keep_alive_once(self, member: Member) -> int | None:
        timing = self._members.timing
        stream = member.lease.LeaseKeepAlive(timeout=timing.rpc_timeout_s, metadata=self._members.metadata())
        try:
            await stream.write(etcdrpc.LeaseKeepAliveRequest(ID=self.id))
            answer = await stream.read()
            if answer is grpc.aio.EOF:
                return None
            self._members.require_ours(member, answer)  # also how a member that came back to us is noticed
            return int(answer.TTL)
        finally:
            stream.cancel()

    async def _authenticate(self, stale_token: str | None) -> None:
        # The renewal that met the stale token is lost; the next one, moments later, uses the new one.
        try:
            async with asyncio.timeout(self._members.timing.rpc_timeout_s):
                await self._members.authenticate(stale_token)
        except (TimeoutError, CoordinatorUnavailable, CoordinatorMisconfigured) as error:
            log.warning("lease.authentication_failed", error=str(error) or "no answer in time")
