"""The life of a key, without a server."""

import pytest

from stripe_sandbox.clock import Clock
from stripe_sandbox.errors import StripeError
from stripe_sandbox.idempotency import FORGOTTEN_WITHIN_S, LIFETIME_S, IdempotencyKeys, Replay
from stripe_sandbox.model import KeyRecord
from stripe_sandbox.world import World

REQUEST = ("POST", "/v1/refunds", "hash-of-body")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(clock: Clock) -> IdempotencyKeys:
    return IdempotencyKeys(World(clock), clock)


def executed(keys: IdempotencyKeys, key: str = "k") -> KeyRecord:
    record = keys.reserve(key, *REQUEST)
    assert isinstance(record, KeyRecord)
    record.executions += 1
    keys.remember(record, 200, "req_1", b"{}")
    keys.release(record)
    return record


def test_a_reserved_key_is_in_use_until_it_is_released(keys: IdempotencyKeys) -> None:
    record = keys.reserve("k", *REQUEST)
    assert isinstance(record, KeyRecord)
    with pytest.raises(StripeError) as conflict:
        keys.reserve("k", *REQUEST)
    assert (conflict.value.status, conflict.value.error["code"]) == (409, "idempotency_key_in_use")
    assert keys.outcomes["in_flight"] == 1
    keys.release(record)
    assert keys.reserve("k", *REQUEST) is record


def test_a_remembered_key_replays_and_refuses_another_request(keys: IdempotencyKeys) -> None:
    record = executed(keys)
    assert keys.reserve("k", *REQUEST) == Replay(record, 200)
    with pytest.raises(StripeError) as mismatch:
        keys.reserve("k", "POST", "/v1/refunds", "hash-of-another-body")
    assert mismatch.value.error["type"] == "idempotency_error"
    assert (record.executions, record.replays, record.mismatches) == (1, 1, 1)
    assert keys.outcomes == {"replayed": 1, "in_flight": 0, "other_parameters": 1}


def test_a_key_is_free_again_after_its_lifetime(keys: IdempotencyKeys, clock: Clock) -> None:
    record = executed(keys)
    clock.offset_s = LIFETIME_S - 1
    assert isinstance(keys.reserve("k", *REQUEST), Replay)
    clock.offset_s = LIFETIME_S + FORGOTTEN_WITHIN_S + 1
    assert keys.reserve("k", *REQUEST) is record
    assert record.status is None


def test_keys_are_forgotten_one_by_one_within_six_hours_after_a_day_and_alike_after_a_restart(
    clock: Clock,
) -> None:
    lives_s = [IdempotencyKeys(World(clock), clock, seed=7).lifetime_s(f"key-{n}") for n in range(200)]
    again = IdempotencyKeys(World(clock), clock, seed=7)
    assert lives_s == [again.lifetime_s(f"key-{n}") for n in range(200)]
    assert lives_s != [
        IdempotencyKeys(World(clock), clock, seed=8).lifetime_s(f"key-{n}") for n in range(200)
    ]
    assert min(lives_s) >= LIFETIME_S
    assert max(lives_s) <= LIFETIME_S + FORGOTTEN_WITHIN_S
    assert max(lives_s) - min(lives_s) > FORGOTTEN_WITHIN_S / 2


def test_what_was_in_flight_when_the_process_died_may_execute_after_its_restart(
    keys: IdempotencyKeys, clock: Clock
) -> None:
    executed(keys, "answered")
    keys.reserve("in flight", *REQUEST)
    rows, answers = keys.drain()
    assert [answer[0] for answer in answers] == [1]
    revived = IdempotencyKeys(World(clock), clock)
    revived.load(rows)
    assert isinstance(revived.reserve("answered", *REQUEST), Replay)
    assert isinstance(revived.reserve("in flight", *REQUEST), KeyRecord)
