"""Middleman's REST API, as a careful client uses it: every POST carries a key and may be repeated."""

import asyncio
import random
import ssl
import uuid
from collections.abc import Mapping
from typing import Any, Self

import httpx

from chaos.demo.population import CancelAt, PlanDraft, SubscriberDraft

MAX_TRIES = 8
FIRST_BACKOFF_S = 0.1
MAX_BACKOFF_S = 3.0
_WORTH_REPEATING = frozenset({409, 429, 500, 502, 503, 504})


class RestError(Exception):
    """The API refused, or stayed away for all tries."""


class RestClient:
    """A client of one API, with a bounded number of connections.

    Each connection is an httpx client of its own: httpx walks over its whole pool for every request, which
    took half of the driver's time when sixteen workers shared one.
    """

    def __init__(self, base_url: str, api_key: str, *, connections: int, timeout_s: float = 15.0) -> None:
        certificates = ssl.create_default_context()  # one for all: loading them takes longer than a request
        self._clients = [
            httpx.AsyncClient(
                base_url=base_url,
                headers={"Authorization": f"Bearer {api_key}"},
                timeout=timeout_s,
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
                verify=certificates,
                trust_env=False,  # no proxy between us and a process on this machine
            )
            for _ in range(connections)
        ]
        self._free: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        for client in self._clients:
            self._free.put_nowait(client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for client in self._clients:
            await client.aclose()

    async def create_plan(self, plan: PlanDraft) -> str:
        """The id of the new plan."""
        body = {
            "name": plan.name,
            "amount_minor": plan.amount_minor,
            "currency": plan.currency,
            "interval": {"unit": plan.interval_unit, "count": plan.interval_count},
        }
        return await self._created("/v1/plans", body)

    async def create_customer(self, draft: SubscriberDraft) -> str:
        """The id of the new customer."""
        return await self._created(
            "/v1/customers", {"email": draft.email, "payment_method": draft.payment_method}
        )

    async def subscribe(self, customer_id: str, plan_id: str, time_zone: str) -> str:
        """The id of the new subscription, which begins now."""
        body = {"customer_id": customer_id, "plan_id": plan_id, "time_zone": time_zone}
        return await self._created("/v1/subscriptions", body)

    async def cancel(self, subscription_id: str, at: CancelAt) -> None:
        """End a subscription."""
        await self.post(f"/v1/subscriptions/{subscription_id}/cancel", {"at": at})

    async def set_test_clock(self, *, rate: float) -> None:
        """Let the test clock run at `rate` virtual seconds per real second from here on; 0 stops it."""
        await self.post("/v1/test_clock", {"advance_s": 0, "rate": rate})

    async def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Repeat under the same key, backing off, until the answer is definite; raises `RestError`."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        told = ""
        for attempt in range(MAX_TRIES):
            if attempt:
                ceiling_s = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2**attempt)
                await asyncio.sleep(random.uniform(ceiling_s / 2, ceiling_s))  # noqa: S311  # jitter
            try:
                answer = await self._send(path, body, headers)
            except httpx.HTTPError as error:
                told = f"{type(error).__name__}: {error}"
                continue
            if answer.is_success:
                content: dict[str, Any] = answer.json()
                return content
            told = f"{answer.status_code}: {answer.text[:300]}"
            if answer.status_code not in _WORTH_REPEATING:
                break
        raise RestError(f"POST {path} failed: {told}")

    async def _send(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> httpx.Response:
        client = await self._free.get()
        try:
            return await client.post(path, json=dict(body), headers=dict(headers))
        finally:
            self._free.put_nowait(client)

    async def _created(self, path: str, body: Mapping[str, Any]) -> str:
        return str((await self.post(path, body))["id"])
