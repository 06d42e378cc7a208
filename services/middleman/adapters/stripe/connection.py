"""One pooled HTTP session below the SDK, with its gaps closed.

The SDK's aiohttp client lets errors while *reading* an answer escape as raw aiohttp exceptions, and hides
behind one exception whether a request was ever sent. `PooledClient` turns every network failure into the
SDK's `APIConnectionError` with the cause attached; `never_sent` reads the cause. A refusal that is not the
processor's own, such as a proxy's, becomes an `APIError` that keeps its status.

Through a configured proxy, every connection is a tunnel (CONNECT) in which TLS is spoken with the processor itself. So
what comes through it is the processor's, and what that proxy says comes before and fails the connection.
"""

import json
import ssl
from typing import TYPE_CHECKING

import aiohttp
import stripe

from middleman.adapters.stripe.config import StripeConfig
from middleman.adapters.stripe.date_header import DateHeader
from middleman.adapters.system_clock import SystemClock

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

_FOR_CONNECTION = 0.9
"""Of a call's time: a connection that takes all of it must not look like an answer that did not come."""


class NoTunnel(aiohttp.ClientConnectionError):
    """The proxy opened no tunnel. `status` is its answer to CONNECT; 0 when it gave none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def refused_us(self) -> bool:
        """The proxy will say the same next time: it wants credentials, or forbids the way."""
        return 400 <= self.status < 500 and self.status not in (408, 429)


NEVER_SENT = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS handshake
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ConnectionTimeoutError,  # no connection in time: pool wait, DNS, connect, tunnel or handshake
    NoTunnel,
)


class _Connector(aiohttp.TCPConnector):
    """Tells a proxy that hangs up before the request was sent from a processor that hangs up after it."""

    async def connect(
        self, req: "ClientRequest", traces: "list[Trace]", timeout: aiohttp.ClientTimeout
    ) -> "Connection":
        try:
            return await super().connect(req, traces, timeout)
        except (aiohttp.ClientConnectorError, aiohttp.ClientConnectorCertificateError):
            raise
        except aiohttp.ClientHttpProxyError as error:
            raise NoTunnel(f"the proxy answered {error.status} to CONNECT", error.status) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            if req.proxy is None:
                raise
            raise NoTunnel(f"the proxy gave no answer to CONNECT: {type(error).__name__}") from error


class PooledClient(stripe.AIOHTTPClient):
    """The SDK's aiohttp client on one session of ours. Create it inside a running event loop."""

    def __init__(self, config: StripeConfig) -> None:
        # The SDK's own bundle: a bare machine has no certificates. Loading it takes a moment, so only if needed.
        secure = config.base_url.startswith("https:")
        self.session = aiohttp.ClientSession(
            connector=_Connector(
                ssl=ssl.create_default_context(cafile=stripe.ca_bundle_path) if secure else True,
                limit=config.concurrency,
                keepalive_timeout=config.idle_connection_s,
                ttl_dns_cache=60,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            proxy=config.proxy or None,
        )
        timeout = aiohttp.ClientTimeout(
            total=config.call_timeout_s,
            # All of it, with the proxy's answer. Callers hold a slot each, so nobody waits for the pool.
            connect=min(2 * config.connect_timeout_s, _FOR_CONNECTION * config.call_timeout_s),
            sock_connect=config.connect_timeout_s,
        )
        self.date = DateHeader(SystemClock())
        super().__init__(timeout=timeout, session=self.session)

    async def request_async(self, method, url, headers, post_data=None):  # type: ignore[no-untyped-def]  # the SDK's signature is untyped
        """The body as bytes, the status and the headers; any network failure as `APIConnectionError`."""
        sent_s = self.date.sent()
        try:
            body, status, answered = await super().request_async(method, url, headers, post_data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]  # the SDK's constructor is untyped
                f"the answer could not be read: {type(error).__name__}", should_retry=False
            ) from error
        self.date.answered(answered, sent_s)
        if 300 <= status < 500 and not _is_stripes(body):
            # The SDK trips over JSON of another shape and would lose the status, which tells whose refusal it is.
            raise stripe.APIError("not the processor's answer", body, status, None, dict(answered))
        return body, status, answered


def _is_stripes(body: bytes) -> bool:
    """Whether a refusal has the processor's shape: a JSON object with an object `error`."""
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def never_sent(error: stripe.APIConnectionError) -> bool:
    """Whether the request certainly did not reach the processor. False is "maybe", not "it did"."""
    return isinstance(error.__cause__, NEVER_SENT)


def refused_by_proxy(error: stripe.APIConnectionError) -> str | None:
    """What a proxy said that will not let us through until the operator does something; None for anything else."""
    cause = error.__cause__
    return str(cause) if isinstance(cause, NoTunnel) and cause.refused_us else None
