"""Faults on demand: rules that delay, drop, reset, cut, refuse or decline requests that match.

Deterministic: a rule's chance is drawn from its own seed, one draw per request that matches otherwise. Rules live in
memory and end with the process.
"""

import random
from dataclasses import dataclass, field
from typing import Any

from stripe_sandbox.cards import GENERIC, KNOWN_DECLINES, Decline
from stripe_sandbox.errors import ACCOUNT_REFUSALS
from stripe_sandbox.http import Ending
from stripe_sandbox.operation import Linger

MAX_RULES = 1000
MAX_WAIT_S = 300.0
DEFAULT_HANG_S = 30.0

_NETWORK = {"drop_before", "drop_after", "reset", "truncate", "hang"}
_ACTIONS = _NETWORK | {"latency", "error_500", "rate_limit", "decline", "refuse", "linger"}
_ASKED_LATER = {"decline", "linger"}
"""Asked of in the middle of a confirmation, and not when the request arrives."""

PROXY = "proxy"
"""A refusal that is not Stripe's: HTML, from something between."""

MAX_LINGER_S = 30 * 24 * 3600.0
DEFAULT_LINGER_S = 26 * 3600.0
"""Cards issued in India, for recurring payments: https://docs.stripe.com/india-recurring-payments."""


class BadRule(ValueError):
    """The rule makes no sense; the message says what to change."""


@dataclass(slots=True)
class Rule:
    """One fault. `left` counts down to the end of the rule; None means for ever."""

    id: str
    match: dict[str, Any]
    action: dict[str, Any]
    left: int | None
    hits: int = 0
    rng: random.Random = field(default_factory=random.Random)

    def wants(self, operation: str, customer: str | None, payment_method: str | None) -> bool:
        """True if this request is hit; counts it."""
        match = self.match
        if self.left == 0 or match.get("operation", "*") not in ("*", operation):
            return False
        if match.get("customer") not in (None, customer) or match.get("payment_method") not in (
            None,
            payment_method,
        ):
            return False
        probability = match.get("probability")
        if probability is not None and self.rng.random() >= probability:
            return False
        self.hits += 1
        if self.left is not None:
            self.left -= 1
        return True

    def view(self) -> dict[str, Any]:
        """The rule as the admin endpoint shows it."""
        return {
            "id": self.id,
            "match": self.match,
            "action": self.action,
            "times_left": self.left,
            "hits": self.hits,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What the rules want for one request. Waits are seconds; `before` says that nothing is executed."""

    latency_s: float = 0.0
    ending: Ending = Ending.REPLY
    before: bool = False
    hang_s: float = 0.0
    rate_limit: dict[str, Any] | None = None
    error_500: dict[str, Any] | None = None
    refuse: dict[str, Any] | None = None


NO_FAULT = Plan()


class Faults:
    """The rules in force, in the order in which they were added."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self._count = 0

    def add(self, document: object) -> Rule:
        """Puts a rule in force. Raises `BadRule`."""
        if len(self.rules) >= MAX_RULES:
            raise BadRule(f"{MAX_RULES} rules are in force: delete some first.")
        match, action, times = _checked(document)
        self._count += 1
        seed = match.get("seed", 0)
        rule = Rule(f"fault_{self._count}", match, action, times, rng=random.Random(seed))  # noqa: S311 - reproducible on purpose
        self.rules[rule.id] = rule
        return rule

    def plan(self, operation: str, customer: str | None, payment_method: str | None) -> Plan:
        """What happens to this request: all latencies together, and the first other fault that hits."""
        latency_s, other = 0.0, None
        for rule in self.rules.values():
            kind = rule.action["type"]
            if kind in _ASKED_LATER or (kind != "latency" and other is not None):
                continue
            if not rule.wants(operation, customer, payment_method):
                continue
            if kind == "latency":
                jitter_ms = rule.action.get("jitter_ms", 0)
                latency_s += (rule.action["latency_ms"] + rule.rng.random() * jitter_ms) / 1000
            else:
                other = rule.action
        return _plan(min(latency_s, MAX_WAIT_S), other)

    def decline(self, operation: str, customer: str | None, payment_method: str) -> Decline | None:
        """The decline that a rule wants for this charge."""
        for rule in self.rules.values():
            if rule.action["type"] == "decline" and rule.wants(operation, customer, payment_method):
                return _decline(rule.action)
        return None

    def linger(self, operation: str, customer: str | None, payment_method: str) -> Linger | None:
        """How long a rule keeps the outcome of this confirmation back."""
        for rule in self.rules.values():
            if rule.action["type"] == "linger" and rule.wants(operation, customer, payment_method):
                action = rule.action
                return Linger(
                    action.get("status", "processing"),
                    float(action.get("for_s", DEFAULT_LINGER_S)),
                    action.get("then", "succeed"),
                )
        return None


def _decline(action: dict[str, Any]) -> Decline:
    code = action.get("decline_code", GENERIC.decline_code)
    known = KNOWN_DECLINES.get(code, Decline(code))
    return Decline(
        known.decline_code,
        known.code,
        known.message,
        action.get("advice_code", known.advice_code),
        action.get("network_decline_code", known.network_decline_code),
    )


def _plan(latency_s: float, action: dict[str, Any] | None) -> Plan:
    if action is None:
        return Plan(latency_s) if latency_s else NO_FAULT
    before = action.get("when", "before") == "before"
    match action["type"]:
        case "drop_before":
            return Plan(latency_s, Ending.CLOSE, before=True)
        case "drop_after":
            return Plan(latency_s, Ending.CLOSE)
        case "reset":
            return Plan(latency_s, Ending.RESET, before=before)
        case "truncate":
            return Plan(latency_s, Ending.TRUNCATE)
        case "hang":
            return Plan(latency_s, Ending.CLOSE, before=before, hang_s=action.get("hang_s", DEFAULT_HANG_S))
        case "rate_limit":
            return Plan(latency_s, rate_limit=action)
        case "refuse":
            return Plan(latency_s, refuse=action)
        case _:
            return Plan(latency_s, error_500=action)


_MATCH_FIELDS: dict[str, tuple[type, ...]] = {
    "operation": (str,),
    "customer": (str,),
    "payment_method": (str,),
    "probability": (int, float),
    "seed": (int, str),
}
_ACTION_FIELDS: dict[str, dict[str, tuple[type, ...]]] = {
    "latency": {"latency_ms": (int, float), "jitter_ms": (int, float)},
    "drop_before": {},
    "drop_after": {},
    "reset": {"when": (str,)},
    "truncate": {},
    "hang": {"when": (str,), "hang_s": (int, float)},
    "error_500": {"stored": (bool,), "executed": (bool,)},
    "rate_limit": {"retry_after_s": (int, float), "reason": (str,)},
    "refuse": {"reason": (str,), "stored": (bool,), "status": (int,)},
    "linger": {"status": (str,), "for_s": (int, float), "then": (str,)},
    "decline": {"decline_code": (str,), "advice_code": (str,), "network_decline_code": (str,)},
}


def _checked(document: object) -> tuple[dict[str, Any], dict[str, Any], int | None]:
    if not isinstance(document, dict) or not set(document) <= {"match", "times", "action"}:
        raise BadRule('A rule is {"match": {…}, "times": N, "action": {"type": …}}.')
    match, action, times = document.get("match", {}), document.get("action"), document.get("times")
    kind = action.get("type") if isinstance(action, dict) else None
    if not isinstance(action, dict) or not isinstance(kind, str) or kind not in _ACTION_FIELDS:
        raise BadRule(f"action.type must be one of {', '.join(sorted(_ACTION_FIELDS))}.")
    if times is not None and (not isinstance(times, int) or isinstance(times, bool) or times < 1):
        raise BadRule("times must be a whole number of at least 1; leave it out for a rule without end.")
    _check_fields("match", match, _MATCH_FIELDS)
    _check_fields("action", {name: v for name, v in action.items() if name != "type"}, _ACTION_FIELDS[kind])
    if not 0 <= match.get("probability", 1) <= 1:
        raise BadRule("match.probability must be between 0 and 1.")
    if action.get("when", "before") not in ("before", "after"):
        raise BadRule("action.when must be before or after.")
    if kind == "latency" and "latency_ms" not in action:
        raise BadRule("action.latency_ms is missing.")
    if kind == "refuse" and action.get("reason") not in (*ACCOUNT_REFUSALS, PROXY):
        raise BadRule(f"action.reason must be one of {', '.join((*ACCOUNT_REFUSALS, PROXY))}.")
    if (
        "status" in action
        and kind == "refuse"
        and not (action["reason"] == PROXY and 400 <= action["status"] < 500)
    ):
        raise BadRule("action.status is for the reason proxy, from 400 to 499.")
    if kind == "linger":
        _check_linger(action)
    reason = action.get("reason", "")
    if not (reason.isascii() and reason.isprintable()):
        # It travels in a header, where a line break would end it and most other characters have no form.
        raise BadRule("action.reason must be printable ASCII.")
    waits = {"latency_ms": 1000, "jitter_ms": 1000, "hang_s": 1, "retry_after_s": 1}
    for name, per_second in waits.items():
        if not 0 <= action.get(name, 0) / per_second <= MAX_WAIT_S:
            raise BadRule(f"action.{name} must be between 0 and {MAX_WAIT_S * per_second:g}.")
    return match, action, times


def _check_linger(action: dict[str, Any]) -> None:
    if action.get("status", "processing") not in ("processing", "requires_capture"):
        raise BadRule("action.status must be processing or requires_capture.")
    if action.get("then", "succeed") not in ("succeed", "decline", "cancel"):
        raise BadRule("action.then must be succeed, decline or cancel.")
    if not 0 <= action.get("for_s", 0) <= MAX_LINGER_S:
        raise BadRule(f"action.for_s must be between 0 and {MAX_LINGER_S:g}.")


def _check_fields(part: str, given: object, fields: dict[str, tuple[type, ...]]) -> None:
    if not isinstance(given, dict):
        raise BadRule(f"{part} must be an object.")
    for name, value in given.items():
        if name not in fields:
            raise BadRule(f"{part}.{name} is unknown here; known: {', '.join(fields) or 'none'}.")
        if not isinstance(value, fields[name]) or (isinstance(value, bool) and bool not in fields[name]):
            raise BadRule(f"{part}.{name} has the wrong type.")
