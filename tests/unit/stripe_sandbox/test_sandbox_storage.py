"""The ledger's file: what it says of itself."""

import sqlite3
from pathlib import Path

from stripe_sandbox.storage import Storage


def test_an_open_ledger_is_without_trouble_and_a_closed_one_is_not(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert storage.trouble() is None
    storage.close()
    assert "cannot write" in str(storage.trouble())


def test_a_ledger_that_somebody_else_holds_locked_cannot_be_written(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    storage._db.execute("PRAGMA busy_timeout=0")
    other = sqlite3.connect(storage.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert "database is locked" in str(storage.trouble())
    other.execute("ROLLBACK")
    assert storage.trouble() is None
    other.close()
    storage.close()
