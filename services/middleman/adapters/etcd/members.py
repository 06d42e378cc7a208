"""One channel per member, and calls that a hung member cannot delay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
import structlog
from etcd3 import etcdrpc

from middleman.adapters.etcd.config import EtcdConfig, EtcdTls
from middleman.adapters.etcd.faults import RPC_ERRORS, Fault, LeaseNotFound, classify, describe
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
    """All members of one cluster. Channels open on first use, on the event loop that uses them."""

    def __init__(
        self, config: EtcdConfig, timing: LeaseTiming, clock: Clock, uniform: Callable[[], float]
    ) -> None:
        self.config = config
        self.timing = timing
        self.uniform = uniform
        self._clock = clock
        self._credentials = _credentials(config.tls) if config.tls is not None else None
        self._members: tuple[Member, ...] | None = None
        self._closed = False
        self._preferred = 0
        self._token: str | None = None
        self._authenticating = asyncio.Lock()

    @property
    def all(self) -> tuple[Member, ...]:
        """Every configured member."""
        if self._closed:
            raise RuntimeError("this etcd client was closed: make a new one")
        if self._members is None:
            self._members = tuple(Member(e, self._credentials) for e in self.config.endpoints)
        return self._members

    @property
    def token(self) -> str | None:
        """The token of the last authentication."""
        return self._token

    def metadata(self) -> Metadata:
        """What every RPC carries."""
        return (("token", self._token),) if self._token is not None else ()

    async def call(self, method: Method, request: Any) -> Any:
        """The first answer of any member, within the call budget.

        The request must be harmless when it is carried out twice: a member that does not answer
        within ``hedge_s`` is not waited for alone, the next one is asked as well.

        Raises:
            CoordinatorUnavailable: no member answered in time.
            CoordinatorMisconfigured: etcd refuses us.
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
                        return await self._ask_in_turn(method, request)
                    except RPC_ERRORS as error:
                        last = describe(error)
                        fault = classify(error)
                    if fault is Fault.LEASE_NOT_FOUND:
                        raise LeaseNotFound(last)
                    if fault is Fault.AUTHENTICATE and authentications < _MAX_AUTHENTICATIONS:
                        with suppress(CoordinatorUnavailable):
                            await self.authenticate(token)
                            authentications += 1
                            continue
                    elif fault is not Fault.RETRY:
                        raise CoordinatorMisconfigured(f"etcd at {self._names()} refuses us ({last})")
                    await self._clock.sleep(pause.next_delay_s())
        except TimeoutError:
            raise CoordinatorUnavailable(
                f"etcd at {self._names()} gave no answer within {self.timing.call_budget_s:g} s ({last})"
            ) from None

    async def authenticate(self, stale_token: str | None) -> None:
        """Get a new token, unless another task has replaced ``stale_token`` meanwhile.

        Raises:
            CoordinatorMisconfigured: no user is configured, or etcd refuses it.
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
            request = etcdrpc.AuthenticateRequest(name=self.config.user, password=self.config.password)
            try:
                answer = await self._ask_in_turn(lambda member: member.auth.Authenticate, request)
            except RPC_ERRORS as error:
                if classify(error) is Fault.RETRY:
                    raise CoordinatorUnavailable(
                        f"etcd did not authenticate us ({describe(error)})"
                    ) from error
                raise CoordinatorMisconfigured(
                    f"etcd refuses user {self.config.user!r} ({describe(error)}): check user and password"
                ) from error
            self._token = answer.token
            log.info("etcd.authenticated", user=self.config.user)

    async def close(self) -> None:
        """Close every channel."""
        self._closed = True
        members, self._members = self._members or (), None
        await asyncio.gather(*(member.channel.close(grace=None) for member in members))

    async def _ask_in_turn(self, method: Method, request: Any) -> Any:
        """One pass: ask the member that answered last, and the next as soon as this one fails or dawdles."""
        waiting = [(self._preferred + i) % len(self.all) for i in range(len(self.all))]
        asked: dict[asyncio.Task[Any], int] = {}
        failure: BaseException | None = None
        try:
            while waiting or asked:
                if waiting:
                    index = waiting.pop(0)
                    asked[asyncio.create_task(self._ask(self.all[index], method, request))] = index
                hedge_s = self.timing.hedge_s if waiting else None
                done, _ = await asyncio.wait(asked, timeout=hedge_s, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    index = asked.pop(task)
                    failure = task.exception()
                    if failure is None:
                        self._preferred = index
                        return task.result()
                    if classify(failure) is not Fault.RETRY:
                        raise failure
            assert failure is not None  # no member at all is refused by the configuration
            raise failure
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)

    async def _ask(self, member: Member, method: Method, request: Any) -> Any:
        return await method(member)(request, timeout=self.timing.rpc_timeout_s, metadata=self.metadata())

    def _names(self) -> str:
        return ", ".join(self.config.endpoints)


def _credentials(tls: EtcdTls) -> grpc.ChannelCredentials:
    ca, key, cert = (
        path.read_bytes() if path is not None else None for path in (tls.ca_path, tls.key_path, tls.cert_path)
    )
    return grpc.ssl_channel_credentials(root_certificates=ca, private_key=key, certificate_chain=cert)
