"""Stripe's request syntax: form encoding with brackets, `metadata[plan]=basic&payment_method_types[]=card`."""

import hashlib
from typing import TypeAlias
from urllib.parse import unquote_plus

import orjson

from stripe_sandbox.errors import invalid

FormValue: TypeAlias = str | list["FormValue"] | dict[str, "FormValue"]
Form: TypeAlias = dict[str, FormValue]
Pairs: TypeAlias = list[tuple[str, str]]

MAX_PAIRS = 1000
MAX_DEPTH = 6


def decode_pairs(encoded: str) -> Pairs:
    """Names and values of a query string or form body, decoded, in their order. Raises a 400 past `MAX_PAIRS`."""
    if not encoded:
        return []
    parts = encoded.split("&")
    if len(parts) > MAX_PAIRS:
        raise invalid(f"Too many parameters: {len(parts)}; send at most {MAX_PAIRS}.", param=None)
    pairs = []
    for part in parts:
        if not part:
            continue
        name, _, value = part.partition("=")
        # Most names and many values are plain: decoding only where a mark of encoding is present halves the cost.
        if "%" in name or "+" in name:
            name = unquote_plus(name)
        if "%" in value or "+" in value:
            value = unquote_plus(value)
        pairs.append((name, value))
    return pairs


def decode_form(pairs: Pairs) -> Form:
    """The nested form that the bracketed names of `pairs` describe. Raises a 400 where names contradict."""
    form: Form = {}
    for name, value in pairs:
        if "[" not in name:
            form[name] = value
            continue
        _place(form, name, value)
    return {name: _lists(value) for name, value in form.items()}


def _place(form: Form, name: str, value: str) -> None:
    head, *rest = name.replace("]", "").split("[")
    if len(rest) > MAX_DEPTH:
        raise invalid(f"Parameter is nested too deeply: {name[:100]}", param=name[:100])
    container, key = form, head
    for step in rest:
        inner = container.setdefault(key, {})
        if not isinstance(inner, dict):
            raise invalid(
                f"Invalid object: parameter {head} is given both as a value and as an object.", param=head
            )
        container, key = inner, step or str(len(inner))
    container[key] = value


def _lists(value: FormValue) -> FormValue:
    """Turns the dictionaries that stand for arrays (`0`, `1`, … without a gap) into lists.

    Only those, because a list forgets its names: of `metadata[2024]=x` the 2024 would be lost.
    """
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(item) for name, item in value.items()}
    numbers = [str(number) for number in range(len(inner))]
    return [inner[number] for number in numbers] if inner and all(map(inner.__contains__, numbers)) else inner


def items_in_order(value: FormValue) -> list[FormValue] | None:
    """The items of an array, whose numbers may have gaps; None if it is none."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict) or not all(name.isascii() and name.isdigit() for name in value):
        return None
    return [value[name] for name in sorted(value, key=lambda name: (len(name), name))]


def fingerprint(pairs: Pairs) -> str:
    """SHA-256 (hexadecimal) of the parameters in canonical order: equal for equal requests however they are written.

    Sorted by name only, so that the order of an array's items, all of one name, still counts.
    """
    return hashlib.sha256(orjson.dumps(sorted(pairs, key=lambda pair: pair[0]))).hexdigest()
