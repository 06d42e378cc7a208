"""Output that no terminal, pipe or locale can refuse: a verdict must not be lost to its own check mark."""

import codecs
import sys
from collections.abc import Iterable
from typing import TextIO

_PLAIN = {
    "\N{CHECK MARK}": "+",
    "\N{BALLOT X}": "x",
    "\N{WHITE CIRCLE}": "o",
    "\N{BLACK CIRCLE}": "*",
    "\N{BLACK STAR}": "*",
    "\N{BLACK RIGHT-POINTING TRIANGLE}": ">",
    "\N{BLACK LEFT-POINTING TRIANGLE}": "<",
    "\N{BLACK UP-POINTING TRIANGLE}": "^",
    "\N{BULLET}": "*",
    "\N{MIDDLE DOT}": "-",
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{MINUS SIGN}": "-",
    "\N{RIGHTWARDS ARROW}": "->",
    "\N{LEFTWARDS ARROW}": "<-",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{NO-BREAK SPACE}": " ",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{MICRO SIGN}": "u",
    "\N{EURO SIGN}": "EUR",
}
_BOX_DRAWING = range(0x2500, 0x2580)
_BLOCKS = range(0x2580, 0x25A0)
_HANDLER = "middleman.plain"


def write_plainly_where_needed(streams: Iterable[TextIO] | None = None) -> None:
    """Have standard output and error replace what their encoding has not, instead of raising UnicodeEncodeError."""
    codecs.register_error(_HANDLER, _plain)
    for stream in (sys.stdout, sys.stderr) if streams is None else streams:
        reconfigure = getattr(stream, "reconfigure", None)  # a stream that was put in its place may have none
        if reconfigure is not None:
            reconfigure(errors=_HANDLER)


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain_character, error.object[error.start : error.end])), error.end


def _plain_character(character: str) -> str:
    if ord(character) in _BOX_DRAWING:
        return (
            "-"
            if character in "\u2500\u2501\u2550\u254c\u254d"
            else "|"
            if character in "\u2502\u2503\u2551"
            else "+"
        )
    if ord(character) in _BLOCKS:
        return "#"
    return _PLAIN.get(character, "?")
