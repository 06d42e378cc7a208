"""Idempotency keys, exactly as Stripe treats them.

A key is reserved before its request executes and remembers the answer once execution has begun, whatever its status.
Forgotten: answers to failed validation, 401, 409, 429. Stripe says that a key is forgotten 24 hours after its first use
at the earliest, and not when. Here it is up to six hours later, by chance, on the sandbox's clock: then it is free
again, and a repeat *executes again*. Nothing is safe because of its key alone. Source: https://docs.stripe.com/api/idempotent_requests.
"""

import hashlib
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

import orjson

from stripe_sandbox.clock import Clock
from stripe_sandbox.errors import StripeError, key_in_use, key_reused, key_too_long
from stripe_sandbox.model import KeyRecord
from stripe_sandbox.world import World

MAX_KEY_LENGTH = 255
LIFETIME_S = 24 * 3600
FORGOTTEN_WITHIN_S = 6 * 3600
"""After its lifetime, each key at a moment of its own."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The key remembers an answer: this status, with the body in the database."""

    record: KeyRecord
    status: int


class IdempotencyKeys:
    """All keys ever used; the audit of each outlives its answer. `seed` chooses when each is forgotten."""

    def __init__(self, world: World, clock: Clock, seed: int = 0) -> None:
        self._world = world
        self._seed = seed
        self._clock = clock
        self.by_key: dict[str, KeyRecord] = {}
        self.ordered: list[KeyRecord] = []
        self.outcomes: Counter[str] = Counter(replayed=0, in_flight=0, other_parameters=0)
        """Repeats since the start: answered from memory, or refused for either reason."""
        self._in_flight: set[str] = set()
        self._dirty: dict[int, KeyRecord] = {}
        self._answers: list[tuple[int, str, bytes]] = []

    def load(self, rows: Iterable[tuple[int, bytes]]) -> None:
        """Takes in what the database holds; called once, at the start. What was in flight when the process died was
        not committed, so its key is free."""
        for seq, state in rows:
            record = KeyRecord(**orjson.loads(state))
            self.by_key[record.key] = record
            self.ordered.append(record)
            self._world.seq = max(self._world.seq, seq)

    def reserve(self, key: str, method: str, path: str, body_sha256: str) -> KeyRecord | Replay:
        """Takes the key for one execution, or finds its answer. Raises Stripe's 400 or 409."""
        if len(key) > MAX_KEY_LENGTH:
            raise key_too_long(len(key))
        record = self.by_key.get(key)
        if record is None:
            record = self._new(key, method, path, body_sha256)
        else:
            self._check_repeat(record, method, path, body_sha256)
            if record.status is not None and not self._expired(record):
                record.replays += 1
                self.outcomes["replayed"] += 1
                self._dirty[record.seq] = record
                return Replay(record, record.status)
            record.created = self._clock.unix()
            record.status = None
            record.method, record.path, record.body_sha256 = method, path, body_sha256
        self._in_flight.add(key)
        self._dirty[record.seq] = record
        return record

    def _new(self, key: str, method: str, path: str, body_sha256: str) -> KeyRecord:
        record = KeyRecord(key, self._world.next_seq(), self._clock.unix(), method, path, body_sha256)
        self.by_key[key] = record
        self.ordered.append(record)
        return record

    def _check_repeat(self, record: KeyRecord, method: str, path: str, body_sha256: str) -> None:
        same = (record.method, record.path, record.body_sha256) == (method, path, body_sha256)
        in_flight = record.key in self._in_flight
        error: StripeError | None = None
        if not same:
            # Counted also where Stripe would let it pass (nothing remembered): one key should mean one request.
            record.mismatches += 1
            if in_flight or (record.status is not None and not self._expired(record)):
                error = key_reused(record.key)
                self.outcomes["other_parameters"] += 1
        elif in_flight:
            record.in_flight_conflicts += 1
            self.outcomes["in_flight"] += 1
            error = key_in_use(record.key)
        if error is not None:
            self._dirty[record.seq] = record
            raise error

    def _expired(self, record: KeyRecord) -> bool:
        return self._clock.now_s() - record.created >= self.lifetime_s(record.key)

    def lifetime_s(self, key: str) -> float:
        """For how long the key's answer is remembered: the same after a restart."""
        digest = hashlib.sha256(f"{self._seed}:{key}".encode("utf-8", "surrogateescape")).digest()
        return LIFETIME_S + FORGOTTEN_WITHIN_S * int.from_bytes(digest[:8], "big") / 2**64

    def remember(self, record: KeyRecord, status: int, request_id: str, body: bytes) -> None:
        """Keeps the answer; it is committed with whatever the request changed."""
        record.status = status
        self._dirty[record.seq] = record
        self._answers.append((record.seq, request_id, body))

    def release(self, record: KeyRecord) -> None:
        """The request has been answered (or given up): its key is no longer in flight."""
        self._in_flight.discard(record.key)

    def drain(self) -> tuple[list[tuple[int, bytes]], list[tuple[int, str, bytes]]]:
        """Rows of the keys and answers that changed since the last call."""
        keys = [(seq, orjson.dumps(record)) for seq, record in self._dirty.items()]
        answers = self._answers
        self._dirty, self._answers = {}, []
        return keys, answers

    def index_after(self, record: KeyRecord) -> int:
        """Index in `ordered` of the key first used after `record`'s."""
        return bisect_left(self.ordered, record.seq + 1, key=attrgetter("seq"))
