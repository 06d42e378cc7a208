"""One channel per member, and calls that a hung member cannot delay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import grpc
import structlog
from etcd3 import etcdrpc

from middleman.adapters.etcd.config import EtcdConfig, EtcdTls
from middleman.adapters.etcd.faults import (
    RPC_ERRORS,
    Fault,
    ForeignMember,
    LeaseNotFound,
    classify,
    describe,
)
from middleman.adapters.etcd.identity import Identity
from middleman.leadership.backoff import Backoff
from middleman.leadership.timing import LeaseTiming
from middleman.ports.clock import Clock
from middleman.ports.errors import CoordinatorMisconfigured, CoordinatorUnavailable

log = structlog.get_logger(__name__)

_CHANNEL_OPTIONS = (
    # gRPC's own reconnect backoff grows to two minutes: a member that came back would be ignored.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 500),
    # gRPC's own is thirty seconds: a container that starts again at another address would be missed for as long.
    ("grpc.dns_min_time_between_resolutions_ms", 500),
    # Only to find dead connections: etcd allows pings every 5 s, too rare to notice a hung member.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)
_MAX_AUTHENTICATIONS = 2

Metadata = tuple[tuple[str, str], ...]


class Member:
    """One etcd member: its channel and the generated stubs on it."""

    def __init__(self, endpoint: str, credentials: grpc.ChannelCredentials | None) -> None:
        self.endpoint = endpoint
        self.channel = (
            grpc.aio.secure_channel(endpoint, credentials, _CHANNEL_OPTIONS)
            if credentials is not None
            else grpc.aio.insecure_channel(endpoint, _CHANNEL_OPTIONS)
        )
        self.kv = etcdrpc.KVStub(self.channel)
        self.lease = etcdrpc.LeaseStub(self.channel)
        self.watch = etcdrpc.WatchStub(self.channel)
        self.auth = etcdrpc.AuthStub(self.channel)


Method = Callable[[Member], Any]
"""Picks the stub's method, for example ``lambda member: member.kv.Range``."""


class Members:
    """All members of one cluster. Channels open on first use, on the event loop that uses them.

    An answer counts only if it comes from our cluster. A failure is one member's word: another member's answer
    outweighs it, and only a majority can refuse us.
    """

    def __init__(
        self,
        config: EtcdConfig,
        timing: LeaseTiming,
        clock: Clock,
        uniform: Callable[[], float],
        show_foreign: Callable[[int], None],
    ) -> None:
        """``show_foreign`` is called with the number of endpoints of other clusters whenever it changes."""
        self.config = config
        self.timing = timing
        self.uniform = uniform
        self.identity = Identity(config.endpoints, config.majority, show_foreign)
        self._clock = clock
        self._tls = _credentials(config.tls) if config.tls is not None else None
        self._members: tuple[Member, ...] | None = None
        self._closed = False
        self._preferred = ""
        self._token: str | None = None
        self._authenticating = asyncio.Lock()

    @property
    def all(self) -> tuple[Member, ...]:
        """Every configured member."""
        if self._closed:
            raise RuntimeError("this etcd client was closed: make a new one")
        if self._members is None:
            self._members = tuple(Member(e, self._tls) for e in self.config.endpoints)
        return self._members

    @property
    def token(self) -> str | None:
        """The token of the last authentication."""
        return self._token

    def metadata(self) -> Metadata:
        """What every RPC carries."""
        return (("token", self._token),) if self._token is not None else ()

    async def call(self, method: Method, request: Any) -> Any:
        """The first answer of any member of our cluster, within the call budget.

        The request must be harmless when it is carried out twice: a member that does not answer
        within ``hedge_s`` is not waited for alone, the next one is asked as well.

        Raises:
            CoordinatorUnavailable: no member answered in time.
            CoordinatorMisconfigured: etcd refuses us, or the endpoints do not belong to one cluster.
            LeaseNotFound: the request names a lease that is gone.
        """
        pause = Backoff(0.05, 0.4, self.uniform)
        authentications = 0
        last = "no answer"
        try:
            async with asyncio.timeout(self.timing.call_budget_s):
                while True:
                    token = self._token
                    try:
                        await self._identify()
                        return await self._ask_in_turn(lambda member: self._ask(member, method, request))
                    except RPC_ERRORS as error:
                        last = describe(error)
                        fault = classify(error)
                    if fault is Fault.LEASE_NOT_FOUND:
                        raise LeaseNotFound(last)
                    if fault is Fault.REFUSED:
                        raise CoordinatorMisconfigured(f"etcd at {self._names()} refuses us ({last})")
                    if fault is Fault.AUTHENTICATE and authentications < _MAX_AUTHENTICATIONS:
                        with suppress(CoordinatorUnavailable):
                            await self.authenticate(token)
                            authentications += 1
                            continue
                    await self._clock.sleep(pause.next_delay_s())
        except TimeoutError:
            raise CoordinatorUnavailable(
                f"etcd at {self._names()} gave no answer within {self.timing.call_budget_s:g} s ({last})"
            ) from None

    async def ask_all(self, method: Method, request: Any, *, decided: Callable[[Any], bool]) -> bool:
        """Ask every member of our cluster at once, and show each answer to ``decided`` until it returns True.

        Returns whether it did. Members that fail are passed over; nothing is repeated.
        """
        members = [member for member in self.all if not self.identity.is_foreign(member.endpoint)]
        asked = {asyncio.create_task(self._ask(member, method, request)) for member in members}
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    if decided(await answer):
                        return True
                except RPC_ERRORS as error:
                    log.debug("etcd.member_failed", error=describe(error))
            return False
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def authenticate(self, stale_token: str | None) -> None:
        """Get a new token, unless another task has replaced ``stale_token`` meanwhile.

        Raises:
            CoordinatorMisconfigured: no user is configured, or a majority of the members refuses it.
            CoordinatorUnavailable: no member answered.
        """
        async with self._authenticating:
            if self._token != stale_token:
                return
            if self.config.user is None:
                raise CoordinatorMisconfigured(
                    f"etcd at {self._names()} asks for a user: set etcd's user and password"
                )
            self._token = None  # a stale token would have the authentication itself refused
            try:
                self._token = await self._ask_in_turn(self._ask_for_token)
            except RPC_ERRORS as error:
                if classify(error) is Fault.RETRY:
                    raise CoordinatorUnavailable(
                        f"etcd did not authenticate us ({describe(error)})"
                    ) from error
                raise CoordinatorMisconfigured(
                    f"etcd refuses user {self.config.user!r} ({describe(error)}): check user and password"
                ) from error
            log.info("etcd.authenticated", user=self.config.user)

    def require_ours(self, member: Member, answer: Any) -> None:
        """Raise `ForeignMember` unless ``answer``, which ``member`` gave, comes from our cluster."""
        cluster_id = int(answer.header.cluster_id)
        self.identity.saw(member.endpoint, cluster_id)
        if cluster_id != self.identity.cluster_id:
            raise ForeignMember(f"{member.endpoint} belongs to another etcd cluster ({cluster_id:x})")

    async def close(self) -> None:
        """Close every channel."""
        self._closed = True
        members, self._members = self._members or (), None
        await asyncio.gather(*(member.channel.close(grace=None) for member in members))

    async def _identify(self) -> None:
        """Learn which cluster is ours, once; raises one of `RPC_ERRORS` or `CoordinatorMisconfigured`."""
        if self.identity.cluster_id is not None:
            return
        failures: list[BaseException] = []
        asked = {asyncio.create_task(self._name_cluster(member)) for member in self.all}
        try:
            for answer in asyncio.as_completed(asked):
                try:
                    await answer
                except RPC_ERRORS as error:
                    failures.append(error)
                if self.identity.cluster_id is not None:
                    return
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        if (contradiction := self.identity.contradiction()) is not None:
            raise CoordinatorMisconfigured(contradiction)
        raise self._weighed(failures) or ForeignMember(
            "no majority of etcd's endpoints has said which cluster it belongs to"
        )

    async def _name_cluster(self, member: Member) -> None:
        """Have one member say which cluster it belongs to, by a request that our user may make anyway.

        A read of its own copy, because a member that is cut off from the others knows its cluster, too.
        """
        key = f"{self.config.prefix}/election/0".encode()
        request = etcdrpc.RangeRequest(key=key, serializable=True, keys_only=True)
        try:
            answer = await self._send(member, lambda member: member.kv.Range, request)
        except grpc.aio.AioRpcError as error:
            if classify(error) is Fault.LEASE_NOT_FOUND:
                raise ForeignMember(f"{member.endpoint} answers a read with {describe(error)}") from error
            if classify(error) is not Fault.AUTHENTICATE or self.config.user is None:
                raise
            try:
                answer = await self._send(
                    member, lambda member: member.auth.Authenticate, self._user(), with_token=False
                )
            except grpc.aio.AioRpcError:
                raise error from None  # our user's name or password: found out and said by `authenticate`
        self.identity.saw(member.endpoint, int(answer.header.cluster_id))

    async def _ask_in_turn(self, ask: Callable[[Member], Coroutine[Any, Any, Any]]) -> Any:
        """One pass: ask the member that answered last, and the next as soon as this one fails or dawdles."""
        members = [m for m in self.all if not self.identity.is_foreign(m.endpoint)]
        members.sort(key=lambda member: member.endpoint != self._preferred)
        asked: dict[asyncio.Task[Any], Member] = {}
        failures: list[BaseException] = []
        try:
            while members or asked:
                if members:
                    member = members.pop(0)
                    asked[asyncio.create_task(ask(member))] = member
                hedge_s = self.timing.hedge_s if members else None
                done, _ = await asyncio.wait(asked, timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    member = asked.pop(task)
                    failure = task.exception()
                    if failure is None:
                        self._preferred = member.endpoint
                        return task.result()
                    failures.append(failure)
                if (certain := self._certain(failures)) is not None:
                    raise certain
            raise self._weighed(failures) or ForeignMember("no member of our etcd cluster is left to ask")
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    def _certain(self, failures: Sequence[BaseException]) -> BaseException | None:
        """The failure that no other member's answer can outweigh, if there is one."""
        for failure in failures:
            if not isinstance(failure, RPC_ERRORS):
                return failure
            if classify(failure) is Fault.LEASE_NOT_FOUND:
                return failure  # decided by etcd's raft, and by our cluster's: see `_ask`
        lasting = [failure for failure in failures if classify(failure) is not Fault.RETRY]
        return self._weighed(lasting) if len(lasting) >= self.config.majority else None

    def _weighed(self, failures: Sequence[BaseException]) -> BaseException | None:
        """What failures of single members mean together: refused only if a majority refuses us."""
        refusals = [failure for failure in failures if classify(failure) is Fault.REFUSED]
        stale = [failure for failure in failures if classify(failure) is Fault.AUTHENTICATE]
        if stale and (self.config.user is not None or len(stale) >= self.config.majority):
            return stale[0]
        if len(refusals) + len(stale) >= self.config.majority:
            return (refusals or stale)[0]
        return next((failure for failure in failures if classify(failure) is Fault.RETRY), None)

    async def _ask(self, member: Member, method: Method, request: Any) -> Any:
        if not self.identity.is_known(member.endpoint):
            await self._name_cluster(member)
        if self.identity.is_foreign(member.endpoint):
            raise ForeignMember(f"{member.endpoint} belongs to another etcd cluster")
        try:
            answer = await self._send(member, method, request)
        except grpc.aio.AioRpcError as error:
            if classify(error) is Fault.LEASE_NOT_FOUND:
                # A failure does not say which cluster it comes from, and another cluster knows no lease of ours.
                await self._name_cluster(member)
                if self.identity.is_foreign(member.endpoint):
                    raise ForeignMember(f"{member.endpoint} belongs to another etcd cluster") from error
            raise
        self.require_ours(member, answer)
        return answer

    async def _ask_for_token(self, member: Member) -> str:
        answer = await self._send(
            member, lambda member: member.auth.Authenticate, self._user(), with_token=False
        )
        self.require_ours(member, answer)
        return str(answer.token)

    async def _send(self, member: Member, method: Method, request: Any, *, with_token: bool = True) -> Any:
        metadata = self.metadata() if with_token else ()
        return await method(member)(request, timeout=self.timing.rpc_timeout_s, metadata=metadata)

    def _user(self) -> Any:
        return etcdrpc.AuthenticateRequest(name=self.config.user, password=self.config.password)

    def _names(self) -> str:
        return ", ".join(self.config.endpoints)


def _credentials(tls: EtcdTls) -> grpc.ChannelCredentials:
    ca, key, cert = (
        path.read_bytes() if path is not None else None for path in (tls.ca_path, tls.key_path, tls.cert_path)
    )
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)
