"""Load on the REST API: customers come, subscribe, look around and sometimes cancel.

    MIDDLEMAN_API_KEY=mk_test_… locust -f loadtest/locustfile.py --host http://127.0.0.1:8000 \\
        --headless --users 50 --spawn-rate 10 --run-time 30s

Every POST carries an Idempotency-Key; now and then one is repeated, and the answer must be the first one's. The
run ends with exit status 1 when a request failed.
"""

import os
import random
import uuid
from typing import Any

from locust import HttpUser, between, events, task

PLANS = (
    {"name": "Daily", "amount_minor": 99, "currency": "EUR", "interval": {"unit": "day"}},
    {"name": "Monthly", "amount_minor": 1299, "currency": "EUR", "interval": {"unit": "month"}},
    {"name": "Yearly", "amount_minor": 9900, "currency": "JPY", "interval": {"unit": "year"}},
)


@events.init.add_listener  # type: ignore[untyped-decorator]  # locust leaves it untyped
def need_an_api_key(environment: Any, **_: Any) -> None:
    """Refuse to start without a key: every request would be a 401."""
    if not os.environ.get("MIDDLEMAN_API_KEY"):
        raise SystemExit("locust: set MIDDLEMAN_API_KEY to an API key with the scopes read and write")


class Subscriber(HttpUser):
    """One customer of the business, and the business's back office looking at it."""

    wait_time = between(0.05, 0.3)

    def on_start(self) -> None:
        """Become a customer."""
        self.client.headers["Authorization"] = f"Bearer {os.environ['MIDDLEMAN_API_KEY']}"
        self.subscriptions: list[str] = []
        self.plan_id = self._post("/v1/plans", random.choice(PLANS))["id"]
        body = {"email": f"{uuid.uuid4().hex}@example.com", "payment_method": "pm_card_visa"}
        self.customer_id = self._post("/v1/customers", body)["id"]

    @task(4)
    def subscribe(self) -> None:
        """One more subscription."""
        body = {"customer_id": self.customer_id, "plan_id": self.plan_id, "time_zone": "Europe/Berlin"}
        self.subscriptions.append(self._post("/v1/subscriptions", body)["id"])

    @task(8)
    def read(self) -> None:
        """Look at one subscription."""
        if self.subscriptions:
            name = random.choice(self.subscriptions)
            self.client.get(f"/v1/subscriptions/{name}", name="/v1/subscriptions/{id}")

    @task(4)
    def list_own(self) -> None:
        """Look at all of one's own, page by page."""
        cursor: str | None = None
        for _ in range(5):
            parameters = {"customer_id": self.customer_id, "limit": 20} | (
                {"cursor": cursor} if cursor else {}
            )
            page = self.client.get("/v1/subscriptions", params=parameters, name="/v1/subscriptions").json()
            cursor = page.get("next_cursor")
            if cursor is None:
                return

    @task(2)
    def list_invoices(self) -> None:
        """What was billed."""
        self.client.get(
            "/v1/invoices", params={"customer_id": self.customer_id}, name="/v1/invoices?customer_id"
        )

    @task(1)
    def cancel(self) -> None:
        """End one subscription, now or at the end of its period."""
        if self.subscriptions:
            name = self.subscriptions.pop(random.randrange(len(self.subscriptions)))
            path = f"/v1/subscriptions/{name}/cancel"
            body = {"at": random.choice(("now", "period_end"))}
            self._post(path, body, name="/v1/subscriptions/{id}/cancel")

    @task(1)
    def repeat(self) -> None:
        """Send one request twice, as a caller does whose connection broke."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        body = {"customer_id": self.customer_id, "plan_id": self.plan_id}
        first = self.client.post("/v1/subscriptions", json=body, headers=headers)
        with self.client.post(
            "/v1/subscriptions",
            json=body,
            headers=headers,
            name="/v1/subscriptions (repeat)",
            catch_response=True,
        ) as again:
            if again.content != first.content:
                again.failure("the repeat was answered differently")

    def _post(self, path: str, body: dict[str, Any], name: str | None = None) -> dict[str, Any]:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        with self.client.post(path, json=body, headers=headers, name=name, catch_response=True) as answer:
            if answer.status_code in (200, 201):
                document: dict[str, Any] = answer.json()
                return document
            answer.failure(f"{answer.status_code}: {answer.text[:200]}")
        raise RuntimeError(f"{path} answered {answer.status_code}")
