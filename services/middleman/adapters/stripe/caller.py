"""One call to Stripe: a connection in time, the guard's leave, and an answer or the reason for none."""

import asyncio
from collections.abc import Mapping
from typing import Any

import aiohttp
import stripe
import structlog

from middleman.adapters.stripe.answers import from_connection_error
from middleman.adapters.stripe.config import STRIPE_VERSION, StripeConfig
from middleman.adapters.stripe.connection import PooledClient
from middleman.domain.attempts import Unknown
from middleman.domain.idempotency import checked_key
from middleman.ports.clock import ClockReading
from middleman.ports.processor import NO_FREE_CONNECTION, Guard, NotSent, OperatorFault

log = structlog.get_logger(__name__)

# The SDK keeps this switch per process only; it would report request durations to Stripe.
stripe.enable_telemetry = False

Reply = Mapping[str, Any] | stripe.StripeError | OperatorFault | Unknown | NotSent
"""The answer's JSON; the SDK's error for an error status; or why there is no answer."""


class StripeCaller:
    """Sends requests through the SDK, each once. Create it inside a running event loop."""

    def __init__(self, config: StripeConfig) -> None:
        self._config = config
        self._http = PooledClient(config)
        if config.proxy:
            log.info("processor.proxied", proxy=config.proxy_address, processor=config.base_url)
        self._client = stripe.StripeClient(
            config.api_key,
            stripe_version=STRIPE_VERSION,
            base_addresses={"api": config.base_url},
            http_client=self._http,
            max_network_retries=0,
        )
        # As many slots as connections, so that all waiting is over when the guard is asked.
        self._slots = asyncio.Semaphore(config.concurrency)
        self._waiting = 0

    async def get(self, path: str, params: Mapping[str, Any], guard: Guard | None = None) -> Reply:
        return await self._call("get", path, params, guard)

    async def post(
        self, path: str, params: Mapping[str, Any], idempotency_key: str, guard: Guard | None = None
    ) -> Reply:
        """Raises ValueError on a key that the SDK would replace or Stripe refuse."""
        # The SDK takes its options among the parameters.
        return await self._call(
            "post", path, {**params, "idempotency_key": checked_key(idempotency_key)}, guard
        )

    async def post_afresh(self, path: str, guard: Guard | None = None) -> Reply:
        """A POST that is to be executed every time, whatever was answered before: the SDK makes up a new key."""
        return await self._call("post", path, {}, guard)

    async def warm(self, connections: int) -> None:
        """Open connections by asking for the root page, which needs no key and counts against no limit."""
        wanted = min(connections, self._config.concurrency)
        results = await asyncio.gather(*(self._touch() for _ in range(wanted)), return_exceptions=True)
        failed = [result for result in results if isinstance(result, Exception)]
        if failed:
            error = f"{type(failed[0]).__name__}: {failed[0]}"
            log.warning("processor.not_warmed", failed=len(failed), wanted=wanted, error=error)

    def clock(self) -> ClockReading | None:
        """What the processor's clock showed last."""
        return self._http.date.last

    async def close(self) -> None:
        await self._http.session.close()

    async def _call(self, method: str, path: str, params: Mapping[str, Any], guard: Guard | None) -> Reply:
        if self._http.session.closed:
            return NotSent("closed", detail="the processor's connections were closed")
        if self._slots.locked():
            refusal = await self._wait_for_slot()
            if refusal is not None:
                return refusal
        else:
            await self._slots.acquire()
        try:
            if guard is not None:
                guard()
            return await self._send(method, path, params)
        finally:
            self._slots.release()

    async def _send(self, method: str, path: str, params: Mapping[str, Any]) -> Reply:
        try:
            data = (await self._client.raw_request_async(method, path, **params)).data
        except stripe.APIConnectionError as error:
            return from_connection_error(error)
        except stripe.StripeError as error:
            return error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # The SDK trips over an answer that is JSON but not Stripe's; the request may have been executed.
            log.warning("processor.garbled", method=method, path=path, error=repr(error))
            return Unknown("garbled", type(error).__name__)
        return data if isinstance(data, Mapping) else Unknown("garbled", type(data).__name__)

    async def _wait_for_slot(self) -> NotSent | None:
        if self._waiting >= self._config.max_waiting:
            return NotSent("too_many_waiting", detail=f"{self._waiting} calls wait for a connection")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._config.call_timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            return NotSent(NO_FREE_CONNECTION, detail=f"none in {self._config.call_timeout_s} s")
        finally:
            self._waiting -= 1
        return None

    async def _touch(self) -> None:
        timeout = aiohttp.ClientTimeout(total=self._config.connect_timeout_s)
        url = f"{self._config.base_url}/"
        sent_s = self._http.date.sent()
        async with self._http.session.get(url, allow_redirects=False, timeout=timeout) as response:
            await response.read()
        self._http.date.answered(response.headers, sent_s)
