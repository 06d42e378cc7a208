"""Names that sort by time of creation: ULIDs in lower case (https://github.com/ulid/spec)."""

import os
import time

from middleman.domain.ids import stem


def ulid(time_ms: int, randomness: bytes) -> str:
    """26 characters of Crockford's base 32: 48 bits of Unix milliseconds, then 80 random bits (10 bytes)."""
    if not 0 <= time_ms < 1 << 48 or len(randomness) != 10:
        raise ValueError("a ULID takes 48 bits of milliseconds and 10 random bytes")
    return stem(time_ms << 80 | int.from_bytes(randomness))


def new_id(prefix: str) -> str:
    """`prefix` and a fresh ULID of this moment. The wall clock only orders names; nothing falls due by it."""
    return prefix + ulid(time.time_ns() // 1_000_000, os.urandom(10))
