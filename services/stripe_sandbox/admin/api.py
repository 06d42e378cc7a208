"""Routing of the admin endpoints. Plain JSON in and out; errors are `{"error": "what to do"}`."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson

from stripe_sandbox.admin import ledger
from stripe_sandbox.auth import presented_key, same_key
from stripe_sandbox.clock import MAX_OFFSET_S, Clock
from stripe_sandbox.faults import BadRule, Faults
from stripe_sandbox.http import Reply, Request, json_reply
from stripe_sandbox.idempotency import IdempotencyKeys
from stripe_sandbox.stats import Stats
from stripe_sandbox.storage import Storage
from stripe_sandbox.world import World

_DEFAULT_LIMIT = 1000
_Handler = Callable[[Request, dict[str, str]], Reply]


class BadRequest(ValueError):
    """The message says what to change."""


class AdminApi:
    """Answers after the commit of everything that came before, so that it shows what is durable and nothing else."""

    def __init__(
        self,
        admin_key: str,
        world: World,
        keys: IdempotencyKeys,
        faults: Faults,
        stats: Stats,
        clock: Clock,
        storage: Storage,
    ) -> None:
        self._admin_key = admin_key
        self._world, self._keys, self._faults = world, keys, faults
        self._stats, self._clock, self._storage = stats, clock, storage
        self._routes: dict[tuple[str, str], _Handler] = {
            ("GET", "/admin/ledger/intents"): self._intents,
            ("GET", "/admin/ledger/keys"): self._ledger_keys,
            ("GET", "/admin/ledger/periods"): self._periods,
            ("GET", "/admin/stats"): lambda _request, _query: json_reply(200, self._stats.view(self._world)),
            ("GET", "/admin/faults"): lambda _request, _query: json_reply(200, self._fault_list()),
            ("POST", "/admin/faults"): self._add_fault,
            ("DELETE", "/admin/faults"): self._delete_faults,
            ("GET", "/admin/clock"): lambda _request, _query: json_reply(200, self._clock_view()),
            ("POST", "/admin/clock"): self._set_clock,
        }

    def answer(self, request: Request) -> Reply:
        """The reply to one admin request."""
        key = presented_key(request.headers.get("authorization"))
        if key is None or not same_key(key, self._admin_key):
            return json_reply(401, {"error": "Send the admin key: `Authorization: Bearer <--admin-key>`."})
        handler = self._routes.get((request.method, request.path))
        try:
            if handler is not None:
                return handler(request, dict(parse_qsl(request.query, keep_blank_values=True)))
            if request.method == "DELETE" and request.path.startswith("/admin/faults/"):
                return self._delete_fault(unquote(request.path.removeprefix("/admin/faults/")))
        except (BadRequest, BadRule) as error:
            return json_reply(400, {"error": str(error)})
        except ledger.UnknownCursor as error:
            return json_reply(404, {"error": f"after={error.args[0]} names nothing in this ledger."})
        known = ", ".join(sorted({path for _method, path in self._routes}))
        return json_reply(404, {"error": f"No {request.method} {request.path}; there are: {known}."})

    # The ledger.

    def _intents(self, _request: Request, query: dict[str, str]) -> Reply:
        _only(query, "after", "limit")
        return json_reply(200, ledger.intents(self._world, query.get("after"), _limit(query)))

    def _ledger_keys(self, _request: Request, query: dict[str, str]) -> Reply:
        _only(query, "after", "limit")
        return json_reply(200, ledger.keys(self._keys, query.get("after"), _limit(query)))

    def _periods(self, _request: Request, query: dict[str, str]) -> Reply:
        _only(query, "by", "after", "limit", "min_succeeded")
        by = [name for name in query.get("by", "").split(",") if name]
        if not by:
            raise BadRequest("by=… must name the metadata to group by, separated by commas.")
        start, least = _number(query, "after", 0, 0, 2**62), _number(query, "min_succeeded", 0, 0, 2**31)
        return json_reply(200, ledger.periods(self._world, by, least, start, _limit(query)))

    # Faults.

    def _fault_list(self) -> dict[str, Any]:
        return {"data": [rule.view() for rule in self._faults.rules.values()]}

    def _add_fault(self, request: Request, _query: dict[str, str]) -> Reply:
        return json_reply(201, self._faults.add(_json(request)).view())

    def _delete_faults(self, _request: Request, _query: dict[str, str]) -> Reply:
        document = self._fault_list()
        self._faults.rules.clear()
        return json_reply(200, document)

    def _delete_fault(self, rule_id: str) -> Reply:
        rule = self._faults.rules.pop(rule_id, None)
        if rule is None:
            return json_reply(404, {"error": f"No fault rule {rule_id}: it ended or never was."})
        return json_reply(200, rule.view())

    # The clock.

    def _clock_view(self) -> dict[str, Any]:
        return {"offset_s": self._clock.offset_s, "now": self._clock.unix()}

    def _set_clock(self, request: Request, _query: dict[str, str]) -> Reply:
        document = _json(request)
        offset_s = document.get("offset_s") if isinstance(document, dict) else None
        if (
            isinstance(offset_s, bool)
            or not isinstance(offset_s, int | float)
            or abs(offset_s) > MAX_OFFSET_S
        ):
            raise BadRequest(f'Send {{"offset_s": N}} with N in seconds, at most {MAX_OFFSET_S} either way.')
        self._storage.set_meta("clock_offset_s", repr(float(offset_s)))
        self._clock.offset_s = float(offset_s)
        return json_reply(200, self._clock_view())


def _json(request: Request) -> Any:
    try:
        return orjson.loads(request.body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON: {error}") from None


def _only(query: dict[str, str], *known: str) -> None:
    for name in query:
        if name not in known:
            raise BadRequest(f"Unknown query parameter {name}; known: {', '.join(known)}.")


def _number(query: dict[str, str], name: str, default: int, least: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise BadRequest(f"{name} must be a whole number from {least} to {most}.")
    return int(text)


def _limit(query: dict[str, str]) -> int:
    return _number(query, "limit", _DEFAULT_LIMIT, 1, ledger.MAX_LIMIT)
