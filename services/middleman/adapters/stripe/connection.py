"""One pooled HTTP session below the SDK, with its gaps closed.

The SDK's aiohttp client lets errors while *reading* an answer escape as raw aiohttp exceptions, and hides
behind one exception whether a request was ever sent. `PooledClient` turns every network failure into the
SDK's `APIConnectionError` with the cause attached; `never_sent` reads the cause. A refusal that is not the
processor's own, such as a proxy's, becomes an `APIError` that keeps its status.
"""

import json
import ssl

import aiohttp
import stripe

from middleman.adapters.stripe.config import StripeConfig

NEVER_SENT = (
    aiohttp.ClientConnectorError,  # refused, unreachable, DNS, TLS handshake
    aiohttp.ClientConnectorCertificateError,
    aiohttp.ConnectionTimeoutError,  # no connection in time: pool wait, DNS, connect or handshake
)


class PooledClient(stripe.AIOHTTPClient):
    """The SDK's aiohttp client on one session of ours. Create it inside a running event loop."""

    def __init__(self, config: StripeConfig) -> None:
        # The SDK's own bundle: a bare machine has no certificates. Loading it takes a moment, so only if needed.
        secure = config.base_url.startswith("https:")
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=ssl.create_default_context(cafile=stripe.ca_bundle_path) if secure else True,
                limit=config.concurrency,
                keepalive_timeout=config.idle_connection_s,
                ttl_dns_cache=60,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        timeout = aiohttp.ClientTimeout(total=config.call_timeout_s, sock_connect=config.connect_timeout_s)
        super().__init__(timeout=timeout, session=self.session)

    async def request_async(self, method, url, headers, post_data=None):  # type: ignore[no-untyped-def]  # the SDK's signature is untyped
        """The body as bytes, the status and the headers; any network failure as `APIConnectionError`."""
        try:
            body, status, answered = await super().request_async(method, url, headers, post_data)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]  # the SDK's constructor is untyped
                f"the answer could not be read: {type(error).__name__}", should_retry=False
            ) from error
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
