"""The ledger's file: one SQLite database that every acknowledged request has reached.

Write-ahead log, one transaction per turn of the event loop. With `synchronous=NORMAL` a commit survives the death of
the process at any moment (what chaos runs do to it); a power cut may cost the last commits, never consistency.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

SCHEMA_VERSION = "1"
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS keys (seq INTEGER PRIMARY KEY, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS answers (key_seq INTEGER PRIMARY KEY, request_id TEXT NOT NULL, body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL, type TEXT NOT NULL, created INTEGER NOT NULL, kind TEXT NOT NULL,
    state BLOB NOT NULL, request_id TEXT, idempotency_key TEXT);
CREATE TABLE IF NOT EXISTS deliveries (
    event_seq INTEGER PRIMARY KEY, attempts INTEGER NOT NULL DEFAULT 0, next_at REAL NOT NULL DEFAULT 0);
CREATE INDEX IF NOT EXISTS deliveries_by_time ON deliveries (next_at, event_seq);
"""

ObjectRow = tuple[int, str, bytes]
EventRow = tuple[int, str, str, int, str, bytes, str | None, str | None]


class LedgerUnusable(Exception):
    """The data directory cannot hold the ledger; the message says why and what to do."""


class Storage:
    """Reads and writes the database. Not shared between threads."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "ledger.sqlite3"
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(data_dir / "ledger.lock")
            self._db = sqlite3.connect(self.path, isolation_level=None)
            # SQLite's default of a checkpoint every 4 MiB: rarer ones cost the same and stall a turn for longer.
            self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise LedgerUnusable(
                f"cannot keep the ledger in {data_dir}: {error}; choose a writable --data-dir"
            ) from error
        version = self.meta("schema_version")
        if version is None:
            self.set_meta("schema_version", SCHEMA_VERSION)
        elif version != SCHEMA_VERSION:
            raise LedgerUnusable(
                f"{self.path} has schema {version}, this sandbox writes {SCHEMA_VERSION}; use another --data-dir"
            )

    def close(self) -> None:
        """Closes the database and frees the directory for another sandbox."""
        self._db.close()
        self._lock.close()

    def trouble(self) -> str | None:
        """Why the ledger cannot be written now; None where it can, which a small write proves."""
        try:
            # SQLite would go on writing into a file that nobody can open again.
            self.path.stat()
            self.set_meta("last_probe", f"{time.time():.3f}")
        except (OSError, sqlite3.Error) as error:
            return f"cannot write {self.path}: {error}"
        return None

    def commit(
        self,
        objects: Iterable[ObjectRow],
        keys: Iterable[tuple[int, bytes]],
        answers: Iterable[tuple[int, str, bytes]],
        events: Iterable[EventRow],
        deliveries: Iterable[tuple[int]],
    ) -> None:
        """Writes everything or nothing."""
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany("INSERT OR REPLACE INTO objects VALUES (?,?,?)", objects)
            db.executemany("INSERT OR REPLACE INTO keys VALUES (?,?)", keys)
            db.executemany("INSERT OR REPLACE INTO answers VALUES (?,?,?)", answers)
            db.executemany("INSERT INTO events VALUES (?,?,?,?,?,?,?,?)", events)
            db.executemany("INSERT INTO deliveries (event_seq) VALUES (?)", deliveries)
        except BaseException:
            db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")

    def meta(self, name: str) -> str | None:
        """A stored setting, or None."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Stores a setting, durably at once."""
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?,?)", (name, value))

    def objects(self) -> Iterator[ObjectRow]:
        """All objects in the order of their creation."""
        yield from self._db.execute("SELECT seq, kind, state FROM objects ORDER BY seq")

    def keys(self) -> Iterator[tuple[int, bytes]]:
        """All idempotency keys in the order of their first use."""
        yield from self._db.execute("SELECT seq, state FROM keys ORDER BY seq")

    def last_event_seq(self) -> int:
        """The highest event number, 0 if there is none."""
        return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])

    def answer(self, key_seq: int) -> tuple[str, bytes]:
        """The remembered answer of a key: the first request's id and the body."""
        row = self._db.execute(
            "SELECT request_id, body FROM answers WHERE key_seq = ?", (key_seq,)
        ).fetchone()
        return str(row[0]), bytes(row[1])

    def event(self, seq: int) -> EventRow | None:
        """One event by its number."""
        row: EventRow | None = self._db.execute("SELECT * FROM events WHERE seq = ?", (seq,)).fetchone()
        return row

    def events(
        self,
        *,
        below: int,
        above: int,
        newest_first: bool,
        types: tuple[str, ...],
        created: tuple[int, int],
        limit: int,
    ) -> list[EventRow]:
        """Events with `above < seq < below`, stamped within `created` (both ends included), of the given types.

        No types means all; `*` in a type is a wildcard, as at Stripe.
        """
        only = f" AND ({' OR '.join(['type GLOB ?'] * len(types))})" if types else ""
        order = "DESC" if newest_first else "ASC"
        sql = (
            "SELECT * FROM events WHERE seq < ? AND seq > ? AND created >= ? AND created <= ?"  # noqa: S608 - only marks and a constant word are put in
            f"{only} ORDER BY seq {order} LIMIT ?"
        )
        return self._db.execute(sql, (below, above, *created, *types, limit)).fetchall()

    def pending_webhooks(self, event_seq: int) -> int:
        """1 while the event waits for its delivery, else 0."""
        row = self._db.execute("SELECT 1 FROM deliveries WHERE event_seq = ?", (event_seq,)).fetchone()
        return 0 if row is None else 1

    def pending_deliveries(self) -> int:
        """How many events wait for their delivery."""
        return int(self._db.execute("SELECT count(*) FROM deliveries").fetchone()[0])

    def due_deliveries(self, now_s: float, limit: int) -> list[tuple[int, int]]:
        """(event number, attempts so far) of what is to be delivered now, oldest first."""
        return self._db.execute(
            "SELECT event_seq, attempts FROM deliveries WHERE next_at <= ? ORDER BY next_at, event_seq LIMIT ?",
            (now_s, limit),
        ).fetchall()

    def next_delivery_at(self) -> float | None:
        """When the next delivery is due, None if none waits."""
        row = self._db.execute("SELECT min(next_at) FROM deliveries").fetchone()
        return None if row[0] is None else float(row[0])

    def delivered(self, event_seqs: Iterable[int]) -> None:
        """These need no (further) delivery."""
        self._db.executemany("DELETE FROM deliveries WHERE event_seq = ?", [(seq,) for seq in event_seqs])

    def postpone(self, event_seq: int, attempts: int, next_at: float) -> None:
        """A delivery failed: try again at `next_at` (wall time)."""
        self._db.execute(
            "UPDATE deliveries SET attempts = ?, next_at = ? WHERE event_seq = ?",
            (attempts, next_at, event_seq),
        )


def _locked(path: Path) -> IO[bytes]:
    """Holds the directory for this process alone: two ledgers in one file would both be wrong."""
    handle = path.open("ab")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        handle.close()
        raise OSError(f"another sandbox holds {path} (this is pid {os.getpid()})") from error
    return handle
