"""The caller cache: short, bounded, and no memory of secrets. And random names that sort by time."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleman.adapters.ulid import new_id, ulid
from middleman.entrypoints.api.gate import CallerCache
from middleman.ports.api_keys import Caller


class CountingCallers:
    """Knows one key, and counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.known = {hashlib.sha256(b"mk_good").digest(): Caller("key_1", frozenset({"read"}))}

    async def find(self, key_sha256: bytes) -> Caller | None:
        self.asked += 1
        return self.known.get(key_sha256)


async def test_a_caller_is_looked_up_once_until_it_is_forgotten() -> None:
    callers, now = CountingCallers(), [0.0]
    cache = CallerCache(callers, now_s=lambda: now[0], keep_s=5)
    assert await cache.find("mk_good") == Caller("key_1", frozenset({"read"}))
    now[0] = 4.9
    await cache.find("mk_good")
    assert callers.asked == 1
    callers.known.clear()  # revoked
    now[0] = 5.1
    assert await cache.find("mk_good") is None
    assert callers.asked == 2


async def test_the_cache_is_bounded_however_many_keys_are_tried() -> None:
    callers = CountingCallers()
    cache = CallerCache(callers, now_s=lambda: 0.0, capacity=3)
    for n in range(10):
        assert await cache.find(f"mk_{n}") is None
    assert callers.asked == 10
    await cache.find("mk_9")
    assert callers.asked == 10
    await cache.find("mk_0")
    assert callers.asked == 11


async def test_the_cache_holds_no_secret() -> None:
    cache = CallerCache(CountingCallers(), now_s=lambda: 0.0)
    await cache.find("mk_good")
    assert "mk_good" not in repr(cache)


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_their_time(one_ms: int, other_ms: int, noise: bytes) -> None:
    one, other = ulid(one_ms, noise), ulid(other_ms, noise)
    assert (one < other) == (one_ms < other_ms)
    assert len(one) == 26
    assert set(one) <= set("0123456789abcdefghjkmnpqrstvwxyz")


def test_the_specifications_example_holds() -> None:
    # https://github.com/ulid/spec: the highest valid ULID.
    assert ulid(2**48 - 1, b"\xff" * 10) == "7zzzzzzzzzzzzzzzzzzzzzzzzz"


@pytest.mark.parametrize(("time_ms", "noise"), [(-1, b"x" * 10), (2**48, b"x" * 10), (0, b"x")])
def test_a_ulid_of_wrong_parts_is_refused(time_ms: int, noise: bytes) -> None:
    with pytest.raises(ValueError, match="48 bits"):
        ulid(time_ms, noise)


def test_fresh_ids_differ_and_carry_their_prefix() -> None:
    made = {new_id("cu_") for _ in range(1000)}
    assert len(made) == 1000
    assert all(name.startswith("cu_") and "_" not in name[3:] for name in made)
