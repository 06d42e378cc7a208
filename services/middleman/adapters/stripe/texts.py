"""Text from outside, made fit to be kept: whatever the processor writes, the database must be able to store it."""

MAX_LENGTH = 1000
"""Characters. Stripe states no limit for its messages; ours keeps one odd answer from filling a row."""


def text(value: object) -> str | None:
    """A non-empty string as PostgreSQL and UTF-8 can carry it, or None.

    JSON may hold NUL, which `text` and `jsonb` refuse, and half of a surrogate pair, which has no encoding at all
    (https://www.postgresql.org/docs/current/datatype-json.html). An outcome that cannot be written cannot be settled,
    and would end one term after the other.
    """
    if not isinstance(value, str):
        return None
    fit = value.replace("\0", "").encode("utf-8", "replace").decode()
    return fit[:MAX_LENGTH] or None


def identifier(value: object) -> str | None:
    """An id of the processor's, or None: printable ASCII of at most 255 characters (https://docs.stripe.com/upgrades)."""
    if isinstance(value, str) and 0 < len(value) <= 255 and value.isascii() and value.isprintable():
        return value
    return None
