"""A real PostgreSQL whose clock a test may move while it runs: libfaketime stands between it and the kernel."""

import dataclasses
import os
from pathlib import Path

from cluster.leashed import Command
from cluster.postgres import PostgresServer

INSTALL = "apt-get install libfaketime, or set MM_TEST_LIBFAKETIME to its libfaketime.so.1"


def library() -> Path | None:
    """Debian's libfaketime, or the one that the environment names; None where there is none."""
    named = os.environ.get("MM_TEST_LIBFAKETIME")
    if named:
        return Path(named)
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


class ShiftedPostgres(PostgresServer):
    """`shift` moves its wall clock. Its monotonic clock, and with it every timeout of its own, stays right."""

    def __init__(self, directory: Path, library: Path) -> None:
        super().__init__(directory, fresh=True)
        self._library = library
        # Beside the data: that directory is made by the server's first start.
        self._offset = directory.with_name(f"{directory.name}-clock")
        self.shift(0.0)

    def shift(self, ahead_s: float) -> None:
        """From now on the clock is ahead by so much; every process of the server sees it with its next look."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(f"{ahead_s:+.1f}\n")
        fresh.chmod(0o644)
        fresh.replace(self._offset)

    def _server_command(self) -> Command:
        command = super()._server_command()
        faked = {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return dataclasses.replace(command, env={**command.env, **faked})
