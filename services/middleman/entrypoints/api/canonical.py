"""A JSON document in one spelling, so that the same document written differently has the same digest."""

import json
from typing import Any

_EXACT_BELOW = float(2**53)
"""From here on floats leave whole numbers out, and two numbers could become one."""


class _NoSingleMeaning(ValueError):
    """The text is no JSON, or JSON that readers understand differently."""


def canonical(body: bytes) -> bytes:
    """The document with its names in order, without spaces, and with one spelling for each text and number.

    `1`, `1.0` and `1e0` are one number; whole numbers stay exact at any size. A body in which a name comes twice, or
    that is no JSON, has no single meaning and is returned as it is: it equals itself byte for byte only.
    """
    try:
        document = json.loads(
            body, object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant
        )
        return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        return body


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _NoSingleMeaning("a name comes twice")
    return document


def _number(text: str) -> float | int:
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < _EXACT_BELOW else number


def _refuse_constant(text: str) -> Any:
    raise _NoSingleMeaning(f"{text} is no number of JSON's")
