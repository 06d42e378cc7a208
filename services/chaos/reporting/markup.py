"""HTML and SVG, element by element: what is not `Markup` yet cannot get in without being escaped."""

import html
import re
from typing import NewType

Markup = NewType("Markup", str)

NOTHING = Markup("")
_VOID = frozenset({"meta", "br", "hr"})
# What XML 1.0 does not allow, escaped or not: an SVG file that contains one of these cannot be opened.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Value = str | int | float | bool | None


def text(value: object) -> Markup:
    """Plain text, escaped."""
    return Markup(html.escape(_NOT_XML.sub("�", str(value))))


def element(name: str, /, *children: Markup, **attributes: Value) -> Markup:
    """`<name …>children</name>`. A trailing underscore of an attribute is dropped, others become hyphens.

    None and False leave an attribute out, True repeats its name; floats are rounded to a hundredth.
    """
    head = "".join([f"<{name}", *(_attribute(key, value) for key, value in attributes.items())])
    if not children and name in _VOID:
        return Markup(f"{head}/>")
    return Markup(f"{head}>{''.join(children)}</{name}>")


def shape(name: str, /, **attributes: Value) -> Markup:
    """An SVG element without content: `<name …/>`."""
    return Markup("".join([f"<{name}", *(_attribute(key, value) for key, value in attributes.items()), "/>"]))


def join(*parts: Markup, by: str = "") -> Markup:
    """All of them, one after the other; `by` is plain text."""
    return Markup(text(by).join(parts))


def number(value: float) -> str:
    """As short as a hundredth allows: `3`, `3.5`, `3.25`."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _attribute(key: str, value: Value) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    if value is True:
        return f' {name}="{name}"'
    return f' {name}="{text(number(value) if isinstance(value, float) else value)}"'
