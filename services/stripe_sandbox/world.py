"""Everything the processor knows, in memory: objects by id and in order, what changed since the last commit, and what
happened. Only the thread of the event loop touches it."""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Generic, TypeVar

import orjson

from stripe_sandbox.clock import Clock
from stripe_sandbox.ids import new_id
from stripe_sandbox.model import (
    Charge,
    Customer,
    EventRecord,
    PaymentIntent,
    PaymentMethod,
    Record,
    Refund,
    SetupIntent,
)

R = TypeVar("R", bound=Record)
_by_seq = attrgetter("seq")


class Collection(Generic[R]):
    """Objects of one kind: by id, in the order of creation, and per customer in the same order."""

    def __init__(self, kind: str, prefix: str, record: type[R], noun: str) -> None:
        self.kind, self.prefix, self.record, self.noun = kind, prefix, record, noun
        self.by_id: dict[str, R] = {}
        self.ordered: list[R] = []
        self._by_customer: dict[str, list[R]] = {}

    def add(self, item: R) -> None:
        """Takes in a new object; it is the youngest."""
        self.by_id[item.id] = item
        self.ordered.append(item)
        self.moved(item, None, getattr(item, "customer", None))

    def moved(self, item: R, old_customer: str | None, new_customer: str | None) -> None:
        """Keeps the per-customer order after the object changed hands."""
        if old_customer is not None:
            self._by_customer[old_customer].remove(item)
        if new_customer is not None:
            insort(self._by_customer.setdefault(new_customer, []), item, key=_by_seq)

    def of_customer(self, customer: str) -> list[R]:
        """The customer's objects, oldest first."""
        return self._by_customer.get(customer, [])

    def after(self, seq: int) -> int:
        """Index in `ordered` of the first object younger than `seq`."""
        return bisect_left(self.ordered, seq + 1, key=_by_seq)


class World:
    """The collections, the sequence, and the changes that wait for the next commit."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.seq = 0
        self.event_seq = 0
        self.customers = Collection("customer", "cus", Customer, "customer")
        self.payment_methods = Collection("payment_method", "pm", PaymentMethod, "PaymentMethod")
        self.payment_intents = Collection("payment_intent", "pi", PaymentIntent, "payment_intent")
        self.charges = Collection("charge", "ch", Charge, "charge")
        self.setup_intents = Collection("setup_intent", "seti", SetupIntent, "setup_intent")
        self.refunds = Collection("refund", "re", Refund, "refund")
        self._kinds: dict[str, Collection[Any]] = {
            collection.kind: collection
            for collection in (
                self.customers,
                self.payment_methods,
                self.payment_intents,
                self.charges,
                self.setup_intents,
                self.refunds,
            )
        }
        self._dirty: dict[int, tuple[str, Record]] = {}
        self._events: list[EventRecord] = []
        self.lingering: list[tuple[float, str]] = []
        """A heap of (when, id): payment intents that a fault keeps between confirmation and outcome."""
        self.cause: tuple[str | None, str | None] = (None, None)
        """Id and idempotency key of the request that is being executed; its events carry both."""

    def birth(self, prefix: str) -> dict[str, Any]:
        """The first three fields of a new record: `id`, `seq`, `created`."""
        return {"id": new_id(prefix), "seq": self.next_seq(), "created": self.clock.unix()}

    def next_seq(self) -> int:
        """The next number of the order of creation."""
        self.seq += 1
        return self.seq

    def add(self, collection: Collection[R], item: R) -> R:
        """Takes in a new object and marks it for the next commit."""
        collection.add(item)
        self._dirty[item.seq] = (collection.kind, item)
        return item

    def changed(self, collection: Collection[R], item: R) -> None:
        """Marks an object for the next commit."""
        self._dirty[item.seq] = (collection.kind, item)

    def happened(self, event_type: str, collection: Collection[R], item: R) -> None:
        """Records an event with the object as it is now."""
        self.event_seq += 1
        request_id, key = self.cause
        self._events.append(
            EventRecord(
                id=f"evt_{self.event_seq:012d}{new_id('')[1:13]}",
                seq=self.event_seq,
                created=self.clock.unix(),
                type=event_type,
                kind=collection.kind,
                state=orjson.dumps(item),
                request_id=request_id,
                idempotency_key=key,
            )
        )

    def drain(self) -> tuple[list[tuple[int, str, bytes]], list[EventRecord]]:
        """Rows of the objects that changed, and the events, since the last call."""
        objects = [(seq, kind, orjson.dumps(item)) for seq, (kind, item) in self._dirty.items()]
        events = self._events
        self._dirty, self._events = {}, []
        return objects, events

    def record(self, kind: str, object_id: str) -> Record:
        """The object of a kind that is known to be there."""
        record: Record = self._kinds[kind].by_id[object_id]
        return record

    def revive(self, kind: str, state: bytes) -> Record:
        """A record from its encoded form (not taken in)."""
        record: Record = self._kinds[kind].record(**orjson.loads(state))
        return record

    def load(self, rows: Iterable[tuple[int, str, bytes]]) -> None:
        """Takes in what the database holds; called once, at the start."""
        for seq, kind, state in rows:
            item = self.revive(kind, state)
            self._kinds[kind].add(item)
            if isinstance(item, PaymentIntent) and item.lingers_until is not None:
                heapq.heappush(self.lingering, (item.lingers_until, item.id))
            self.seq = max(self.seq, seq)
