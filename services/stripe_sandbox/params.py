"""Validation of an operation's parameters, with Stripe's codes for what is wrong.

A `Check` takes a parameter's full name and its decoded form value and gives the value to work with, or raises the
400 that Stripe would answer. Failures here happen before execution, so no idempotency key remembers them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stripe_sandbox.errors import StripeError, invalid
from stripe_sandbox.forms import Form, FormValue, items_in_order

Check: TypeAlias = Callable[[str, FormValue], Any]
Params: TypeAlias = dict[str, Any]

_EMAIL = re.compile(r"[^@\s]{1,64}@(?:[^@\s.]+\.)+[^@\s.]{2,}")

MAX_METADATA_KEYS = 50
MAX_METADATA_KEY_LENGTH = 40
MAX_METADATA_VALUE_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Spec:
    """What an operation accepts: checks by parameter name, the required names, and names that Stripe knows but the
    sandbox does not play (refused with a message that says so, rather than ignored)."""

    checks: Mapping[str, Check] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    not_played: frozenset[str] = frozenset()

    def parse(self, form: Form, prefix: str = "") -> Params:
        """The checked values by name. Raises a `StripeError` (400) for the first parameter that is wrong."""
        params: Params = {}
        checks = self.checks
        for name, value in form.items():
            shown = f"{prefix}[{name}]" if prefix else name
            check = checks.get(name)
            if check is None:
                raise self._unknown(name, shown)
            params[name] = check(shown, value)
        for name in self.required:
            if name not in params:
                shown = f"{prefix}[{name}]" if prefix else name
                raise invalid(f"Missing required param: {shown}.", param=shown, code="parameter_missing")
        return params

    def _unknown(self, name: str, shown: str) -> StripeError:
        if name in self.not_played:
            return invalid(
                f"Stripe accepts {shown}, but this sandbox does not play it: leave it out.", param=shown
            )
        return invalid(
            f"Received unknown parameter: {shown[:200]}", param=shown[:200], code="parameter_unknown"
        )


def _empty(name: str) -> StripeError:
    return invalid(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset a parameter; "
        f"however '{name}' cannot be unset. You should remove '{name}' from your request or supply a non-empty value.",
        param=name,
        code="parameter_invalid_empty",
    )


def integer(minimum: int, maximum: int, *, too_large: str | None = None) -> Check:
    """A whole number within [minimum, maximum]; `too_large` is Stripe's code for exceeding it, where it has one."""

    def check(name: str, value: FormValue) -> int:
        if value == "":
            raise _empty(name)
        digits = value.removeprefix("-") if isinstance(value, str) else ""
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            shown = value[:50] if isinstance(value, str) else "object"
            raise invalid(f"Invalid integer: {shown}", param=name, code="parameter_invalid_integer")
        number = int(str(value))
        if number < minimum:
            message = f"This value must be greater than or equal to {minimum}."
            raise invalid(message, param=name, code="parameter_invalid_integer")
        if number > maximum:
            message = f"This value must be less than or equal to {maximum}."
            raise invalid(message, param=name, code=too_large or "parameter_invalid_integer")
        return number

    return check


def text(max_length: int = 5000, *, clearable: bool = False) -> Check:
    """A string. An empty one unsets the field (gives None) where `clearable`, else it is refused."""

    def check(name: str, value: FormValue) -> str | None:
        if not isinstance(value, str):
            raise invalid(f"Invalid string: {name} must be a string, not an object.", param=name)
        if value == "":
            if clearable:
                return None
            raise _empty(name)
        if len(value) > max_length:
            message = f"Invalid string: {value[:10]}…; must be at most {max_length} characters"
            raise invalid(message, param=name)
        return value

    return check


def email(max_length: int = 512, *, clearable: bool = False) -> Check:
    """An address with a domain that has a dot: Stripe refuses `a@localhost`."""
    plain = text(max_length, clearable=clearable)

    def check(name: str, value: FormValue) -> str | None:
        given: str | None = plain(name, value)
        if given is not None and not _EMAIL.fullmatch(given):
            raise invalid(f"Invalid email address: {given[:200]}", param=name, code="email_invalid")
        return given

    return check


def boolean(name: str, value: FormValue) -> bool:
    """`true` or `false`."""
    if value == "":
        raise _empty(name)
    if value == "true":
        return True
    if value == "false":
        return False
    shown = value[:50] if isinstance(value, str) else "object"
    raise invalid(f"Invalid boolean: {shown}", param=name)


def choice(*allowed: str, clearable: bool = False) -> Check:
    """One of a few words."""

    def check(name: str, value: FormValue) -> str | None:
        if value == "" and clearable:
            return None
        if value in allowed:
            return str(value)
        raise invalid(f"Invalid {name}: must be one of {', '.join(allowed)}", param=name)

    return check


def off_session(name: str, value: FormValue) -> bool:
    """`true`, `false`, or Stripe's older words for true."""
    return True if value in ("one_off", "recurring") else boolean(name, value)


def metadata(name: str, value: FormValue) -> dict[str, str] | None:
    """Up to 50 strings by name; an empty value unsets its name. `metadata=` (gives None) unsets all of them."""
    if value == "":
        return None
    # `metadata[0]=…` decodes as a list, yet these are names as good as any; a list's are 0, 1, … without a gap.
    items = {str(i): v for i, v in enumerate(value)} if isinstance(value, list) else value
    if not isinstance(items, dict):
        raise invalid("Invalid object", param=name)
    if len(items) > MAX_METADATA_KEYS:
        raise invalid(f"Metadata can have at most {MAX_METADATA_KEYS} keys, not {len(items)}.", param=name)
    checked = {}
    for key, item in items.items():
        shown = f"{name}[{key[:MAX_METADATA_KEY_LENGTH]}]"
        if len(key) > MAX_METADATA_KEY_LENGTH:
            message = f"Metadata keys can have up to {MAX_METADATA_KEY_LENGTH} characters."
            raise invalid(message, param=shown)
        if not isinstance(item, str):
            raise invalid("Metadata values must be strings.", param=shown)
        if len(item) > MAX_METADATA_VALUE_LENGTH:
            message = f"Metadata values can have up to {MAX_METADATA_VALUE_LENGTH} characters."
            raise invalid(message, param=shown)
        checked[key] = item
    return checked


def merged_metadata(old: dict[str, str], new: dict[str, str] | None) -> dict[str, str]:
    """`old` with the changes of a request: None clears it, an empty value removes its name."""
    if new is None:
        return {}
    return {key: value for key, value in {**old, **new}.items() if value != ""}


def nested(spec: Spec, *, clearable: bool = False) -> Check:
    """An object with its own spec."""

    def check(name: str, value: FormValue) -> Params | None:
        if value == "" and clearable:
            return None
        if not isinstance(value, dict):
            raise invalid("Invalid object", param=name)
        return spec.parse(value, name)

    return check


def array(item: Check, *, most: int | None = None) -> Check:
    """A list of at most `most` items (None: as many as a request can hold), each checked."""

    def check(name: str, value: FormValue) -> list[Any]:
        items = items_in_order(value)
        if items is None:
            raise invalid("Invalid array", param=name)
        if most is not None and len(items) > most:
            raise invalid(f"Array {name} exceeded maximum {most} allowed elements.", param=name)
        return [item(f"{name}[{i}]", one) for i, one in enumerate(items)]

    return check


def words(names: str) -> frozenset[str]:
    """A set of parameter names from one readable string."""
    return frozenset(names.split())


ADDRESS = Spec(
    {name: text(clearable=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")}
)
"""A postal address."""
