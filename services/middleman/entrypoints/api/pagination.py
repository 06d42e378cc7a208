"""Opaque cursors: where the last page ended, checked before it reaches the database."""

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from middleman.entrypoints.api.problems import Problem
from middleman.ports.records import CreatedPosition, Page

ItemT = TypeVar("ItemT")
_ID = re.compile(r"[a-z]{2,3}_[0-9a-z_]{1,80}", re.ASCII)
_MAX_SEQ = 2**63 - 1

Limit = Annotated[int, Field(ge=1, le=100, description="How many at most.")]
Cursor = Annotated[
    str | None,
    Field(min_length=1, max_length=200, description="`next_cursor` of the page before. Opaque."),
]


class PageQuery(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: Limit = 20
    cursor: Cursor = None


def created_after(cursor: str | None) -> CreatedPosition | None:
    """The position at which a list by creation goes on."""
    if cursor is None:
        return None
    moment, _, record_id = _decoded(cursor, "c").partition("~")
    try:
        created_at = datetime.fromisoformat(moment)
    except ValueError:
        raise _bad_cursor() from None
    if created_at.tzinfo is None or not 1970 <= created_at.year <= 9990 or not _ID.fullmatch(record_id):
        raise _bad_cursor()
    return CreatedPosition(created_at, record_id)


def number_after(cursor: str | None) -> int | None:
    """The number at which a list by number goes on."""
    if cursor is None:
        return None
    position = _decoded(cursor, "n")
    if not (position.isascii() and position.isdigit() and len(position) <= 19) or int(position) > _MAX_SEQ:
        raise _bad_cursor()
    return int(position)


def next_by_creation(item: Any) -> str:
    """The cursor behind `item` in a list by creation."""
    return _encoded("c", f"{item.created_at.isoformat()}~{item.id}")


def next_by_number(number: int) -> str:
    """The cursor behind `number` in a list by number."""
    return _encoded("n", str(number))


def page_document(
    page: Page[ItemT], document: Callable[[ItemT], Any], cursor_behind: Callable[[ItemT], str]
) -> dict[str, Any]:
    """The fields of a `PageOut`."""
    return {
        "data": [document(item) for item in page.items],
        "has_more": page.has_more,
        "next_cursor": cursor_behind(page.items[-1]) if page.has_more else None,
    }


def _encoded(kind: str, position: str) -> str:
    return urlsafe_b64encode(f"{kind}:{position}".encode()).decode().rstrip("=")


def _decoded(cursor: str, kind: str) -> str:
    try:
        text = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, UnicodeError):
        raise _bad_cursor() from None
    found, colon, position = text.partition(":")
    if found != kind or not colon:
        raise _bad_cursor()
    return position


def _bad_cursor() -> Problem:
    detail = "Use the next_cursor of the page before, with the same list."
    return Problem(400, "bad-cursor", detail, errors=[{"field": "cursor", "message": "is not one of ours"}])
