"""Whether every acknowledged write is there exactly once, and nothing else of ours: read at rest, in SQL."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from chaos.workload.book import Book, Client

if TYPE_CHECKING:
    import asyncpg

MAX_FINDINGS = 20

# One row per subscription, and one per customer without any. A subscription may end unasked where dunning gave up,
# which leaves an invoice that nobody will pay.
_ROWS = """
    SELECT c.email, c.id AS customer_id, s.id AS subscription_id, s.plan_id, s.time_zone, s.ends_at,
           (SELECT max(i.period_start) FROM invoices i WHERE i.subscription_id = s.id) AS billed_up_to,
           EXISTS (SELECT FROM invoices i WHERE i.subscription_id = s.id AND i.status = 'uncollectible') AS given_up
    FROM customers c LEFT JOIN subscriptions s ON s.customer_id = c.id
    WHERE c.email LIKE $1
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A customer with one of their subscriptions, or with none; `billed_up_to` is when the last billed period began."""

    email: str
    customer_id: str
    subscription_id: str | None = None
    plan_id: str | None = None
    time_zone: str | None = None
    ends_at: datetime | None = None
    billed_up_to: datetime | None = None
    given_up: bool = False


async def read_rows(connection: "asyncpg.Connection[Any]", emails_like: str) -> list[Row]:
    """Everything that this run's clients left behind."""
    return [Row(*row) for row in await connection.fetch(_ROWS, emails_like)]


def compare(book: Book, rows: Iterable[Row]) -> list[str]:
    """What is wrong, in words; empty when all is well. What was never acknowledged may be there once, or not."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row.email].append(row)
    wrong = [*book.refusals, *book.silences]
    for client in book:
        wrong += _of(client, found.pop(client.email, []))
    wrong += [f"{email} is a customer, though nobody asked for it" for email in found]
    if len(wrong) > MAX_FINDINGS:
        wrong[MAX_FINDINGS:] = [f"and {len(wrong) - MAX_FINDINGS} more"]
    return wrong


def _of(client: Client, rows: Sequence[Row]) -> list[str]:
    customers = {row.customer_id for row in rows}
    if len(customers) > 1:
        return [
            f"{client.email} asked once and is {len(customers)} customers: {', '.join(sorted(customers))}"
        ]
    if client.customer_id is not None and customers != {client.customer_id}:
        return [f"{client.email} was told {client.customer_id}, which is not there"]
    subscribed = [row for row in rows if row.subscription_id is not None]
    if len(subscribed) > 1:
        ids = ", ".join(sorted(str(row.subscription_id) for row in subscribed))
        return [f"{client.email} subscribed once and has {len(subscribed)} subscriptions: {ids}"]
    if client.subscription_id is not None and {row.subscription_id for row in subscribed} != {
        client.subscription_id
    }:
        return [f"{client.email} was told {client.subscription_id}, which is not there"]
    return [wrong for row in subscribed for wrong in _of_subscription(client, row)]


def _of_subscription(client: Client, row: Row) -> list[str]:
    wrong: list[str] = []
    name = f"{row.subscription_id} of {client.email}"
    if (row.plan_id, row.time_zone) != (client.plan_id, client.draft.time_zone):
        wrong.append(
            f"{name} is on {row.plan_id} in {row.time_zone}; asked for was {client.plan_id} in"
            f" {client.draft.time_zone}"
        )
    if client.told_ends_at is not None and (row.ends_at is None or row.ends_at > client.told_ends_at):
        wrong.append(f"{name} ends at {row.ends_at}; its client was told {client.told_ends_at}")
    if row.ends_at is not None and client.cancel is None and not row.given_up:
        wrong.append(f"{name} ends at {row.ends_at}, though nobody asked and dunning did not give up")
    if row.ends_at is not None and row.billed_up_to is not None and row.billed_up_to >= row.ends_at:
        wrong.append(f"{name} ended at {row.ends_at} and was billed for a period from {row.billed_up_to}")
    return wrong
