"""What all resources share: finding objects, listing them newest first, page by page."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from stripe_sandbox.errors import no_such
from stripe_sandbox.expansion import expandable
from stripe_sandbox.forms import FormValue
from stripe_sandbox.model import Customer, PaymentIntent, Record, SetupIntent
from stripe_sandbox.operation import Json
from stripe_sandbox.params import Check, Params, Spec, integer, nested, text
from stripe_sandbox.world import Collection, World

R = TypeVar("R", bound=Record)

DEFAULT_LIMIT = 10
FAR = 2**62

_timestamp = integer(-FAR, FAR)
_created_range = nested(Spec(dict.fromkeys(("gt", "gte", "lt", "lte"), _timestamp)))


def created(name: str, value: FormValue) -> tuple[int, int]:
    """A filter on `created`, as its first and last admissible second: a number or `gt`, `gte`, `lt`, `lte`."""
    if isinstance(value, str):
        exact = _timestamp(name, value)
        return exact, exact
    bounds: Params = _created_range(name, value)
    return (
        max(bounds.get("gte", -FAR), bounds.get("gt", -FAR - 1) + 1),
        min(bounds.get("lte", FAR), bounds.get("lt", FAR + 1) - 1),
    )


def list_spec(kind: str, not_played: frozenset[str] = frozenset(), **filters: Check) -> Spec:
    """The parameters of an operation that lists objects of `kind`: paging plus its own filters."""
    return Spec(
        {
            "limit": integer(1, 100),
            "starting_after": text(),
            "ending_before": text(),
            **expandable(kind, in_list=True),
            **filters,
        },
        not_played=not_played,
    )


def find(collection: Collection[R], object_id: str, *, param: str, in_path: bool = False) -> R:
    """The object, or Stripe's "No such …"."""
    item = collection.by_id.get(object_id)
    if item is None:
        raise no_such(collection.noun, object_id, param=param, in_path=in_path)
    return item


def find_customer(world: World, customer_id: str, *, param: str = "customer") -> Customer:
    """A customer that exists and was not deleted."""
    customer = world.customers.by_id.get(customer_id)
    if customer is None or customer.deleted:
        raise no_such("customer", customer_id, param=param)
    return customer


def page(
    collection: Collection[R],
    items: Sequence[R],
    params: Params,
    render: Callable[[R], Json],
    url: str,
    matches: Callable[[R], bool] | None = None,
) -> Json:
    """One page of `items` (given oldest first) as Stripe's list object, newest first.

    `starting_after` goes on to older objects, `ending_before` back to newer ones; `has_more` speaks of that direction.
    """
    limit = params.get("limit", DEFAULT_LIMIT)
    first, last = params.get("created", (-FAR, FAR))
    newest, oldest = _window(collection, items, params)
    backwards = "ending_before" in params and "starting_after" not in params
    indexes = range(oldest, newest) if backwards else range(newest - 1, oldest - 1, -1)
    chosen: list[R] = []
    for index in indexes:
        item = items[index]
        if first <= item.created <= last and (matches is None or matches(item)):
            chosen.append(item)
            if len(chosen) > limit:
                break
    has_more = len(chosen) > limit
    del chosen[limit:]
    if backwards:
        chosen.reverse()
    return {"object": "list", "url": url, "has_more": has_more, "data": [render(item) for item in chosen]}


def _window(collection: Collection[R], items: Sequence[R], params: Params) -> tuple[int, int]:
    """The indexes (end, start) of `items` between the two cursors."""
    seq = attrgetter("seq")
    newest, oldest = len(items), 0
    if (cursor := params.get("starting_after")) is not None:
        newest = bisect_left(items, find(collection, cursor, param="starting_after").seq, key=seq)
    if (cursor := params.get("ending_before")) is not None:
        oldest = bisect_left(items, find(collection, cursor, param="ending_before").seq + 1, key=seq)
    return newest, oldest


def subject(world: World, object_id: str, params: dict[str, Any]) -> tuple[str | None, str | None]:
    """Whom a request is about, as (customer, payment method): what fault rules can be narrowed to."""
    customer, method = params.get("customer"), params.get("payment_method")
    if object_id:
        item: PaymentIntent | SetupIntent | None = world.payment_intents.by_id.get(object_id)
        item = item or world.setup_intents.by_id.get(object_id)
        if item is not None:
            customer, method = item.customer, method or item.payment_method
        elif object_id in world.customers.by_id:
            customer = object_id
        elif object_id in world.payment_methods.by_id:
            customer, method = customer or world.payment_methods.by_id[object_id].customer, object_id
    return (customer if isinstance(customer, str) else None, method if isinstance(method, str) else None)
