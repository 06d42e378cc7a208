"""A postman between the processor and the API: takes events from one, signs them, and brings them to the other.

Signs by Stripe's page (https://docs.stripe.com/webhooks/signature) and nobody's code; so it can forge as well.
"""

import asyncio
import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from chaos.drive.access import Access
from chaos.drive.stage import NotSeenError

PATH = "/webhooks/stripe"
TIMEOUT_S = 10.0
PATIENCE_S = 30.0
PAUSE_S = 0.25
SUCCEEDED = "payment_intent.succeeded"
_PAGES = 20
_FAR_S = 3600


@dataclass(frozen=True, slots=True)
class Event:
    """An event as it is sent; a forged one has its own `signature`, a true one is signed at each delivery."""

    event_id: str
    body: bytes
    signature: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any], signature: str | None = None) -> Self:
        return cls(str(document["id"]), json.dumps(document).encode(), signature)


def sign(body: bytes, secret: str, *, ahead_s: int = 0) -> str:
    """The `Stripe-Signature` of a body, stamped now or so much later."""
    stamp = int(time.time()) + ahead_s
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def forgeries(event: Event, secret: str) -> Iterator[Event]:
    """The same tidings, each in a way that nobody may believe: another id each, so that a believed one would show."""
    for how in ("secret", "stale", "future", "body", "unsigned", "garbage"):
        forged = _renamed(event)
        body = forged.body
        signature = {
            "secret": sign(body, f"whsec_{uuid.uuid4().hex}"),
            "stale": sign(body, secret, ahead_s=-_FAR_S),
            "future": sign(body, secret, ahead_s=_FAR_S),
            "body": sign(event.body, secret),
            "unsigned": "",
            "garbage": f"t={int(time.time())},v1={'0' * 64}",
        }[how]
        yield Event(forged.event_id, body, signature)


def lie(event: Event, payment_intent_id: str) -> Event:
    """A made-up event of the same kind about another intent."""
    document = json.loads(_renamed(event).body)
    document["data"]["object"]["id"] = payment_intent_id
    return Event.of(document)


def _renamed(event: Event) -> Event:
    return Event.of(json.loads(event.body) | {"id": f"evt_forged{uuid.uuid4().hex[:12]}"})


class Postman:
    """Talks to the processor as its account does, and to the API as the processor does."""

    def __init__(self, access: Access) -> None:
        self.urls = access.api_urls
        self.secret = access.webhook_secret
        self._processor = httpx.AsyncClient(
            base_url=access.sandbox_url,
            headers={"Authorization": f"Bearer {access.sandbox_api_key}"},
            timeout=TIMEOUT_S,
            trust_env=False,
        )
        self._http = httpx.AsyncClient(timeout=TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._processor.aclose()
        await self._http.aclose()

    async def pay(self, intent: str) -> str:
        """As the customer would, present and with another card; the intent's status then."""
        card = {"payment_method": "pm_card_visa"}
        answer = await self._processor.post(f"/v1/payment_intents/{intent}/confirm", data=card)
        return str(answer.raise_for_status().json()["status"])

    async def events(self, intents: Sequence[str]) -> list[Event]:
        """That they succeeded, in the order in which they did; raises `NotSeenError` where one is missing."""
        found: dict[str, Event] = {}
        page: dict[str, Any] = {"type": SUCCEEDED, "limit": 100}
        for _ in range(_PAGES):
            answer = (await self._processor.get("/v1/events", params=page)).raise_for_status().json()
            for document in answer["data"]:
                if document["data"]["object"]["id"] in intents:
                    found[document["data"]["object"]["id"]] = Event.of(document)
            if len(found) == len(intents) or not answer["has_more"]:
                break
            page["starting_after"] = answer["data"][-1]["id"]
        if len(found) < len(intents):
            raise NotSeenError(f"the processor shows {len(found)} of {len(intents)} events")
        return list(reversed(found.values()))

    async def hand_over(self, event: Event, url: str) -> int | None:
        """One delivery to one instance: the status of its answer; None for none."""
        signature = sign(event.body, self.secret) if event.signature is None else event.signature
        headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}
        try:
            answer = await self._http.post(f"{url}{PATH}", content=event.body, headers=headers)
        except httpx.HTTPError:
            return None
        return answer.status_code

    async def deliver(self, event: Event, url: str) -> int:
        """The first definite answer, as often as it takes: Stripe does not give up either. Raises `NotSeenError`."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while True:
                    status = await self.hand_over(event, url)
                    if status is not None and status < 500:
                        return status
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            raise NotSeenError(f"{event.event_id} could not be delivered for {PATIENCE_S:g} s") from None
