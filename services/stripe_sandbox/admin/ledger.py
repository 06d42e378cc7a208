"""The raw ledger, oldest first: what the processor did, whoever asked."""

from collections.abc import Sequence
from typing import Any, TypeVar

from stripe_sandbox.idempotency import IdempotencyKeys
from stripe_sandbox.model import Charge, KeyRecord, PaymentIntent
from stripe_sandbox.world import World

T = TypeVar("T")
MAX_LIMIT = 10_000


class UnknownCursor(LookupError):
    """The `after` of a request names nothing."""


def _page(items: Sequence[T], start: int, limit: int) -> tuple[Sequence[T], bool]:
    return items[start : start + limit], start + limit < len(items)


def intents(world: World, after: str | None, limit: int) -> dict[str, Any]:
    """Payment intents with all their charges."""
    collection = world.payment_intents
    start = 0
    if after is not None:
        if after not in collection.by_id:
            raise UnknownCursor(after)
        start = collection.after(collection.by_id[after].seq)
    chosen, has_more = _page(collection.ordered, start, limit)
    return {"data": [_intent(world, intent) for intent in chosen], "has_more": has_more}


def _intent(world: World, intent: PaymentIntent) -> dict[str, Any]:
    return {
        "id": intent.id,
        "status": intent.status,
        "amount": intent.amount,
        "amount_received": intent.amount_received,
        "currency": intent.currency,
        "customer": intent.customer,
        "metadata": intent.metadata,
        "created": intent.created,
        "charges": [_charge(world.charges.by_id[charge_id]) for charge_id in intent.charges],
    }


def _charge(charge: Charge) -> dict[str, Any]:
    return {
        "id": charge.id,
        "status": "succeeded" if charge.succeeded else "failed",
        "amount": charge.amount,
        "amount_refunded": charge.amount_refunded,
        "currency": charge.currency,
        "created": charge.created,
        "failure_code": None if charge.decline is None else charge.decline["code"],
    }


def keys(known: IdempotencyKeys, after: str | None, limit: int) -> dict[str, Any]:
    """Idempotency keys and what became of each. `body_sha256` is of the parameters in canonical order."""
    start = 0
    if after is not None:
        if after not in known.by_key:
            raise UnknownCursor(after)
        start = known.index_after(known.by_key[after])
    chosen, has_more = _page(known.ordered, start, limit)
    return {"data": [_key(record) for record in chosen], "has_more": has_more}


def _key(record: KeyRecord) -> dict[str, Any]:
    return {
        "key": record.key,
        "method": record.method,
        "path": record.path,
        "body_sha256": record.body_sha256,
        "executions": record.executions,
        "mismatches": record.mismatches,
        "replays": record.replays,
        "in_flight_conflicts": record.in_flight_conflicts,
        "status": record.status,
        "created": record.created,
    }


def periods(world: World, by: Sequence[str], min_succeeded: int, start: int, limit: int) -> dict[str, Any]:
    """Payment intents grouped by metadata: how many there are and how many succeeded.

    `by` names the metadata; intents without all of them are left out. Groups come in the order of their first intent;
    `currency` is null where a group mixes several. `min_succeeded=2` shows double charges only.
    """
    groups: dict[tuple[str, ...], list[PaymentIntent]] = {}
    for intent in world.payment_intents.ordered:
        metadata = intent.metadata
        if all(name in metadata for name in by):
            groups.setdefault(tuple(metadata[name] for name in by), []).append(intent)
    rows = [_group(by, values, members) for values, members in groups.items()]
    chosen, has_more = _page([row for row in rows if row["succeeded"] >= min_succeeded], start, limit)
    return {"data": list(chosen), "has_more": has_more, "next_after": start + len(chosen)}


def _group(by: Sequence[str], values: tuple[str, ...], members: Sequence[PaymentIntent]) -> dict[str, Any]:
    succeeded = [intent for intent in members if intent.status == "succeeded"]
    currencies = {intent.currency for intent in members}
    return {
        **dict(zip(by, values, strict=True)),
        "intents": len(members),
        "succeeded": len(succeeded),
        "amount_succeeded": sum(intent.amount_received for intent in succeeded),
        "currency": currencies.pop() if len(currencies) == 1 else None,
    }
