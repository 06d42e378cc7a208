"""The pulse: a connection to the leader that its kernel closes when its process dies."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol


class NoPulse(Exception):
    """No connection to that process: refused, another process answers there, or no answer in time."""

    def __init__(self, message: str, *, definite: bool, lasting: bool = False) -> None:
        """``definite``: the process that was asked for cannot be there, as opposed to not being heard.

        ``lasting``: the address itself cannot be used, so that no further try can succeed.
        """
        super().__init__(message)
        self.definite = definite
        self.lasting = lasting


class Beat(Protocol):
    """One open connection to one process."""

    async def broken(self) -> str:
        """Wait until the other side closed or reset the connection; returns how it ended. Silence never ends it."""
        ...


class Pulse(Protocol):
    """Feels whether a replica's process lives."""

    def feel(self, address: str, holder: str) -> AbstractAsyncContextManager[Beat]:
        """Hold a connection to the process ``holder`` at ``address`` (``host:port``).

        Raises:
            NoPulse: on entering. Definite when the connection was refused, or when a process that is not
                ``holder`` answered: a process cannot come back under its old name.
        """
        ...
