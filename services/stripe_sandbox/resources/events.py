"""Events: what happened, with the object as it was then. Kept in the database only, so lists are read after the commit."""

import re

from stripe_sandbox.errors import no_such
from stripe_sandbox.expansion import expandable
from stripe_sandbox.operation import Context, Json, Later, Operation
from stripe_sandbox.params import Params, Spec, array, text, words
from stripe_sandbox.resources import rendering
from stripe_sandbox.resources.common import DEFAULT_LIMIT, FAR, created, list_spec
from stripe_sandbox.storage import EventRow, Storage
from stripe_sandbox.world import World

API_VERSION = "2026-08-26.dahlia"
"""The API version whose published schema the answers follow."""

_ID = re.compile(r"evt_(\d{12})[0-9a-f]{12}")


def render(world: World, row: EventRow, pending_webhooks: int) -> Json:
    """Stripe's JSON of an event."""
    _seq, event_id, event_type, created_s, kind, state, request_id, key = row
    return {
        "id": event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": created_s,
        "data": {"object": rendering.render(world, world.revive(kind, state))},
        "livemode": False,
        "pending_webhooks": pending_webhooks,
        "request": {"id": request_id, "idempotency_key": key},
        "type": event_type,
    }


def _find(storage: Storage, event_id: str, *, param: str, in_path: bool = False) -> EventRow:
    match = _ID.fullmatch(event_id)
    row = storage.event(int(match[1])) if match else None
    if row is None or row[1] != event_id:
        raise no_such("event", event_id, param=param, in_path=in_path)
    return row


def _retrieve(context: Context, event_id: str, _params: Params) -> Later:
    storage, world = context.committed, context.world

    def read() -> Json:
        row = _find(storage, event_id, param="id", in_path=True)
        return render(world, row, storage.pending_webhooks(row[0]))

    return Later(read)


def _list(context: Context, _id: str, params: Params) -> Later:
    return Later(lambda: _read_page(context, params))


def _read_page(context: Context, params: Params) -> Json:
    storage, world = context.committed, context.world
    limit = params.get("limit", DEFAULT_LIMIT)
    below, above = FAR, 0
    if "starting_after" in params:
        below = _find(storage, params["starting_after"], param="starting_after")[0]
    if "ending_before" in params:
        above = _find(storage, params["ending_before"], param="ending_before")[0]
    newest_first = "starting_after" in params or "ending_before" not in params
    types = tuple(params.get("types", ())) + ((params["type"],) if "type" in params else ())
    rows = storage.events(
        below=below,
        above=above,
        newest_first=newest_first,
        types=types,
        created=params.get("created", (-FAR, FAR)),
        limit=limit + 1,
    )
    chosen = rows[:limit] if newest_first else rows[:limit][::-1]
    data = [render(world, row, storage.pending_webhooks(row[0])) for row in chosen]
    return {"object": "list", "url": "/v1/events", "has_more": len(rows) > limit, "data": data}


_MAX_TYPES = 20
"""Stripe's bound. Source: https://docs.stripe.com/api/events/list#list_events-types."""

_LIST = list_spec(
    "event",
    words("delivery_success"),
    created=created,
    type=text(100),
    types=array(text(100), most=_MAX_TYPES),
)

OPERATIONS = (
    Operation("events.list", "GET", "/v1/events", _LIST, _list),
    Operation("events.retrieve", "GET", "/v1/events/{id}", Spec(expandable("event")), _retrieve),
)
